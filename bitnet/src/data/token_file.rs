//! Tokens on disk: a header of 64 bytes, then the tokens as little-endian numbers.
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | `BITNETTK` |
//! | 8..12 | version of the format, 1 |
//! | 12..16 | bytes of a token, 2 or 4 |
//! | 16..24 | number of tokens |
//! | 24..32 | bytes of the text that they stand for |
//! | 32..64 | SHA-256 of the tokens, as numbers of four bytes |

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    path::Path,
    sync::atomic::AtomicBool,
};

use memmap2::Mmap;
use sha2::{Digest, Sha256};

use super::{Tokens, tokens::TokenMap};
use crate::storage::{self, Refusal};

const MAGIC: &[u8; 8] = b"BITNETTK";
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;

/// A file of tokens that is whole.
#[derive(Debug, Clone)]
pub struct TokenFile {
    /// The tokens, mapped into memory.
    pub tokens: Tokens,
    /// Bytes of the text that they stand for.
    pub bytes: u64,
    /// SHA-256 of the tokens, as little-endian numbers of four bytes.
    pub sha256: [u8; 32],
}

/// Why a file of tokens cannot be used.
#[derive(Debug)]
pub(super) enum Damage {
    /// It cannot be read, or is not there.
    Unreadable(io::Error),
    /// It is no such file, or one of another version.
    Foreign,
    /// It has not the length that its header says.
    Truncated,
    /// Its tokens are others than those that were written.
    Checksum,
}

impl Damage {
    /// Whether there is no such file.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// The reason, if it is not damage: something is there that is not of this program.
    pub(super) fn refusal(self) -> Result<Self, io::Error> {
        match self {
            Self::Unreadable(error) if Refusal::of(&error).is_some() => Err(error),
            damage => Ok(damage),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read ({error})"),
            Self::Foreign => f.write_str("is no file of tokens, or of another version"),
            Self::Truncated => f.write_str("is cut short or too long"),
            Self::Checksum => f.write_str("is damaged"),
        }
    }
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl TokenFile {
    /// Opens a file of tokens below `vocabulary`, and reads it once to check that it is whole.
    pub(super) fn open(path: &Path, vocabulary: usize) -> Result<Self, Damage> {
        let mut file = storage::open_own(path, OpenOptions::new().read(true))?;
        let mut header = [0; HEADER_BYTES];
        let has_header = file.metadata()?.len() >= HEADER_BYTES as u64;
        if has_header {
            file.read_exact(&mut header)?;
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let [version, width] = [number(8) as u32, (number(8) >> 32) as u32];
        if !has_header
            || &header[..8] != MAGIC
            || version != FORMAT_VERSION
            || !matches!(width, 2 | 4)
        {
            return Err(Damage::Foreign);
        }
        let count = number(16);
        let expected =
            count.checked_mul(width.into()).and_then(|n| n.checked_add(HEADER_BYTES as u64));
        if expected != Some(file.metadata()?.len()) {
            return Err(Damage::Truncated);
        }
        let sha256 = checksum(&file, width)?;
        if sha256[..] != header[32..] {
            return Err(Damage::Checksum);
        }
        #[expect(unsafe_code, reason = "mapping a file is unsafe: another process may change it")]
        // SAFETY: this program replaces such files by renaming and never writes into one. Where
        // another one does, each token is looked at when it is read, and a file that is cut short
        // ends the process (`storage::end_with_a_line`).
        let map = unsafe { Mmap::map(&file)? };
        let tokens = TokenMap {
            map,
            header: HEADER_BYTES,
            width: width as usize,
            vocabulary,
            path: path.into(),
            changed: AtomicBool::new(false),
        };
        let tokens = Tokens::mapped(tokens, count as usize);
        Ok(Self { tokens, bytes: number(24), sha256 })
    }

    /// Writes a file of tokens below `vocab_size`, all or nothing.
    pub(super) fn write<E: From<io::Error>>(
        path: &Path,
        vocab_size: usize,
        fill: impl FnOnce(&mut TokenWriter) -> Result<(), E>,
    ) -> Result<(), E> {
        storage::write_file_with(path, |file| {
            let width = if vocab_size <= 1 << 16 { 2 } else { 4 };
            let mut writer = TokenWriter {
                file: BufWriter::with_capacity(1 << 20, file),
                width,
                count: 0,
                bytes: 0,
                hash: Sha256::new(),
            };
            writer.file.write_all(&[0; HEADER_BYTES])?;
            fill(&mut writer)?;
            Ok(writer.finish()?)
        })
    }
}

/// SHA-256 of what follows the header, in numbers of four bytes. Read rather than mapped: pages of
/// a file that were mapped and read count as memory of the process.
fn checksum(file: &File, width: u32) -> io::Result<[u8; 32]> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut hash = Sha256::new();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        reader.by_ref().take(1 << 15).read_to_end(&mut buffer)?;
        match buffer.len() {
            0 => return Ok(hash.finalize().into()),
            _ if width == 4 => hash.update(&buffer),
            _ => {
                let tokens = buffer.chunks_exact(2);
                let wide: Vec<u8> = tokens.flat_map(|token| [token[0], token[1], 0, 0]).collect();
                hash.update(wide);
            }
        }
    }
}

/// Takes the tokens of a file that is being written.
pub(super) struct TokenWriter<'a> {
    file: BufWriter<&'a mut File>,
    width: usize,
    count: u64,
    bytes: u64,
    hash: Sha256,
}

impl TokenWriter<'_> {
    /// Adds tokens, which stand for `bytes` bytes of text.
    pub(super) fn push(&mut self, tokens: &[u32], bytes: usize) -> io::Result<()> {
        for tokens in tokens.chunks(1 << 12) {
            let wide: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
            self.hash.update(&wide);
            if self.width == 4 {
                self.file.write_all(&wide)?;
            } else {
                let narrow = tokens.iter().flat_map(|&token| (token as u16).to_le_bytes());
                self.file.write_all(&narrow.collect::<Vec<_>>())?;
            }
        }
        self.count += tokens.len() as u64;
        self.bytes += bytes as u64;
        Ok(())
    }

    /// Tokens so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(MAGIC)?;
        self.file.write_all(&FORMAT_VERSION.to_le_bytes())?;
        self.file.write_all(&(self.width as u32).to_le_bytes())?;
        self.file.write_all(&self.count.to_le_bytes())?;
        self.file.write_all(&self.bytes.to_le_bytes())?;
        self.file.write_all(&self.hash.finalize())?;
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(path: &Path, vocab_size: usize, tokens: &[u32]) {
        let fill = |writer: &mut TokenWriter| writer.push(tokens, 7);
        TokenFile::write::<io::Error>(path, vocab_size, fill).unwrap();
    }

    #[test]
    fn tokens_come_back_in_both_widths() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.tokens");
        let tokens: Vec<u32> = (0..50_000).collect();
        let mut sums = Vec::new();
        for (vocab_size, width) in [(1 << 16, 2), ((1 << 16) + 1, 4)] {
            write(&path, vocab_size, &tokens);
            assert_eq!(fs::metadata(&path).unwrap().len(), 64 + width * 50_000);
            let file = TokenFile::open(&path, vocab_size).unwrap();
            assert_eq!(file.tokens.iter().collect::<Vec<_>>(), tokens);
            let slice = file.tokens.slice(10..40_000);
            assert_eq!(slice.range(5..8).collect::<Vec<_>>(), [15, 16, 17]);
            assert_eq!(file.bytes, 7);
            sums.push(file.sha256);
        }
        assert_eq!(sums[0], sums[1]);
        write(&path, 1 << 20, &[70_000]);
        assert_eq!(
            TokenFile::open(&path, 1 << 20).unwrap().tokens.iter().collect::<Vec<_>>(),
            [70_000]
        );
    }

    #[test]
    fn every_damage_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.tokens");
        assert!(TokenFile::open(&path, 256).unwrap_err().is_missing());
        write(&path, 256, &[1, 2, 3, 255]);
        let whole = fs::read(&path).unwrap();
        let damage = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            TokenFile::open(&path, 256).unwrap_err()
        };
        for len in 0..whole.len() {
            let found = damage(&whole[..len]);
            let expected = len < HEADER_BYTES;
            assert_eq!(matches!(found, Damage::Foreign), expected, "{len}: {found}");
            assert_eq!(matches!(found, Damage::Truncated), !expected, "{len}: {found}");
        }
        assert!(matches!(damage(&[&whole[..], &[0]].concat()), Damage::Truncated));
        // The bytes of the text (24..32) are not covered by the sum.
        for at in (0..24).chain(32..whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            damage(&bytes);
        }
        fs::write(&path, &whole).unwrap();
        assert!(TokenFile::open(&path, 256).is_ok());
    }

    #[test]
    fn tokens_that_change_under_way_stay_in_the_vocabulary() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.tokens");
        write(&path, 256, &[1, 2, 3, 255]);
        let TokenFile { tokens, .. } = TokenFile::open(&path, 256).unwrap();
        let (part, other) = (tokens.slice(1..3), tokens.clone());
        assert!(tokens.iter().eq([1, 2, 3, 255]) && tokens.check().is_ok());
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        file.seek(io::SeekFrom::Start(HEADER_BYTES as u64 + 4)).unwrap();
        file.write_all(&[0, 1]).unwrap();
        assert!(other.check().is_ok(), "nothing was read yet");
        assert!(part.iter().eq([2, 0]));
        let error = other.check().unwrap_err().to_string();
        assert!(error.ends_with("it holds tokens that the tokenizer has not"), "{error}");
    }
}
