use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

/// How a whole file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// What `file` holds. Decompressing takes no more than `piece` bytes for the window of
    /// a Zstandard file.
    pub(super) fn open<'a>(
        self,
        file: impl Read + Send + 'a,
        piece: u64,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        let file = BufReader::with_capacity(1 << 16, file);
        Ok(match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(Gzip::new(file)),
            Self::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(file)?;
                // Both ends are those of the format.
                decoder.window_log_max(piece.max(1).ilog2().clamp(10, 31))?;
                Box::new(Zstd { decoder, piece })
            }
        })
    }

    /// What `file` holds begins with.
    pub(super) fn head(self, file: impl Read + Send, piece: u64) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        self.open(file, piece)?.take(HEAD_BYTES).read_to_end(&mut head)?;
        Ok(head)
    }
}

/// Bytes that say what a file is.
const HEAD_BYTES: u64 = 8 << 10;

/// The members of a gzip file. Zeros may follow one, as they do on tapes and in blocks.
pub(super) struct Gzip<R>(State<R>);

enum State<R> {
    Before(R),
    Within(Box<GzDecoder<R>>),
    Taken,
}

impl<R: BufRead> Gzip<R> {
    pub(super) fn new(file: R) -> Self {
        // An empty file is no gzip file.
        Self(State::Within(Box::new(GzDecoder::new(file))))
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.0 {
                State::Within(member) => {
                    let read = member.read(buffer)?;
                    if read > 0 || buffer.is_empty() {
                        return Ok(read);
                    }
                    if let State::Within(member) = std::mem::replace(&mut self.0, State::Taken) {
                        self.0 = State::Before(member.into_inner());
                    }
                }
                State::Before(file) => {
                    if skip_zeros(file)? {
                        return Ok(0);
                    }
                    if let State::Before(file) = std::mem::replace(&mut self.0, State::Taken) {
                        self.0 = State::Within(Box::new(GzDecoder::new(file)));
                    }
                }
                State::Taken => return Ok(0),
            }
        }
    }
}

/// Whether nothing but zeros was left.
fn skip_zeros(file: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = match file.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            buffer => buffer?,
        };
        if buffer.is_empty() {
            return Ok(true);
        }
        let zeros = buffer.iter().take_while(|&&byte| byte == 0).count();
        let all = zeros == buffer.len();
        file.consume(zeros);
        if !all {
            return Ok(false);
        }
    }
}

/// A Zstandard file, whose errors say what helps.
struct Zstd<'a, R: BufRead> {
    decoder: ZstdDecoder<'a, R>,
    piece: u64,
}

impl<R: BufRead> Read for Zstd<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| {
            if !error.to_string().contains("too much memory") {
                return error;
            }
            let mib = self.piece >> 20;
            io::Error::other(format!(
                "decompressing it takes more than {mib} MiB; data.piece_mib allows more"
            ))
        })
    }
}

/// A gzip file of some bytes.
#[cfg(test)]
pub(super) fn gz(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;

    let mut gz = flate2::write::GzEncoder::new(Vec::new(), Default::default());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(compression: Compression, file: &[u8], piece: u64) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let read = compression.open(file, piece).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map(|_| bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn gzip_members_and_the_zeros_after_them() {
        let read = |parts: &[&[u8]]| read(Compression::Gzip, &parts.concat(), 1 << 20);
        let (a, b) = (gz(b"one "), gz(b"two"));
        let zeros = [0; 70_000];
        assert_eq!(read(&[&a]), Ok(b"one ".into()));
        assert_eq!(read(&[&a, &b]), Ok(b"one two".into()));
        assert_eq!(read(&[&a, &b, &zeros]), Ok(b"one two".into()));
        assert_eq!(read(&[&a, &zeros, &b, &[0]]), Ok(b"one two".into()));
        assert!(read(&[&a, b"garbage"]).is_err());
        assert!(read(&[&a, &zeros, b"\x1f"]).is_err());
        assert!(read(&[]).is_err());
        assert!(read(&[&zeros]).is_err());
        assert!(read(&[&a[..a.len() - 1]]).is_err());
    }

    /// As `zstd --long=LOG` writes it where the size is not known before.
    fn long(log: u8, text: &[u8]) -> Vec<u8> {
        let block = (text.len() as u32) << 3 | 1;
        let head = [0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
        [&head, &block.to_le_bytes()[..3], text].concat()
    }

    #[test]
    fn zstd_windows_are_limited_and_the_limit_can_be_raised() {
        let (mib, text) = (1 << 20, b"the text");
        assert_eq!(read(Compression::Zstd, &long(20, text), mib), Ok(text.into()));
        assert_eq!(read(Compression::Zstd, &long(28, text), 256 * mib), Ok(text.into()));
        for (log, piece) in [(21, mib), (31, 256 * mib)] {
            let error = read(Compression::Zstd, &long(log, text), piece).unwrap_err();
            let mib = piece >> 20;
            assert!(error.contains(&format!("more than {mib} MiB; data.piece_mib")), "{error}");
        }
        assert_eq!(read(Compression::Zstd, &long(31, text), 2048 * mib), Ok(text.into()));
    }
}
