//! Arrays on disk, as they stand in memory: a header, a list of the arrays, and the arrays, each at
//! a multiple of 64 bytes. Numbers are little-endian.
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | `BITNETPK` |
//! | 8..12 | version of the format, 1 |
//! | 12..16 | a number for the arrays' owner |
//! | 16..24 | bytes of the file |
//! | 24..28 | number of arrays |
//! | 28..32 | CRC-32C of bytes 0..28 and of the list |
//! | from 32 | the list: of each array its bytes (8), their CRC-32C (4) and four zeros |
//!
//! What is between the arrays is zeros. Nothing else says where an array is: they follow each
//! other in their order.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    ops::Range,
    path::Path,
    sync::Arc,
};

use bytemuck::Pod;
use crc32c::{crc32c, crc32c_append, crc32c_combine};
use memmap2::Mmap;
use rayon::prelude::*;
use thiserror::Error;

use super::array::Array;
use crate::storage::{open_input, write_file_with};

const MAGIC: &[u8; 8] = b"BITNETPK";
const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
/// Bytes of an array in the list.
const BYTES_PER_ENTRY: usize = 16;
/// Where arrays begin: at the lines of a processor's cache.
const ARRAY_ALIGNMENT: usize = 64;
/// Bytes that one thread sums up at a time.
const BYTES_PER_SUM: usize = 1 << 20;

/// A file of packed weights that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is something else.
    #[error("no file of packed weights")]
    Foreign,
    /// Its numbers have another byte order than this processor.
    #[error("for little-endian processors only")]
    Endian,
    /// It is of a version that this library does not know.
    #[error("version {0} of the format, only version {FORMAT_VERSION} can be read")]
    Version(u32),
    /// It ends early, or goes on.
    #[error("cut short or too long")]
    Length,
    /// Its bytes are not those that were written.
    #[error("damaged")]
    Checksum,
    /// It is not of the model that the configuration describes.
    #[error("not of the model in config.json: {0}")]
    Mismatch(String),
    /// It holds what no weight can be.
    #[error("holds {0}")]
    Value(&'static str),
}

/// Whether a file is one of arrays, of any version.
pub(crate) fn is_one(path: &Path) -> io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    match open_input(path)?.read_exact(&mut magic) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| &magic == MAGIC),
    }
}

/// Writes arrays in their order, all or nothing. `kind` is read back with them.
pub(crate) fn write(path: &Path, kind: u32, arrays: &[&[u8]]) -> io::Result<()> {
    write_file_with(path, |file| write_to(file, kind, arrays))
}

fn write_to(file: &mut File, kind: u32, arrays: &[&[u8]]) -> io::Result<()> {
    let list: Vec<u8> = arrays
        .iter()
        .flat_map(|array| {
            let [low, high] = [checksum(array), 0].map(u32::to_le_bytes);
            [&(array.len() as u64).to_le_bytes()[..], &low, &high].concat()
        })
        .collect();
    let start = HEADER_BYTES + list.len();
    let end =
        arrays.iter().fold(start, |end, array| end.next_multiple_of(ARRAY_ALIGNMENT) + array.len());
    let mut header = MAGIC.to_vec();
    header.extend(FORMAT_VERSION.to_le_bytes());
    header.extend(kind.to_le_bytes());
    header.extend((end as u64).to_le_bytes());
    header.extend((arrays.len() as u32).to_le_bytes());
    header.extend(crc32c_append(crc32c(&header), &list).to_le_bytes());

    let mut file = BufWriter::new(file);
    file.write_all(&header)?;
    file.write_all(&list)?;
    let mut position = start;
    for array in arrays {
        let gap = position.next_multiple_of(ARRAY_ALIGNMENT) - position;
        file.write_all(&[0; ARRAY_ALIGNMENT][..gap])?;
        file.write_all(array)?;
        position += gap + array.len();
    }
    file.flush()
}

/// A mapped file of arrays that is whole, to be taken from it in their order.
#[derive(Debug)]
pub(crate) struct ArrayFile {
    file: Arc<Mmap>,
    kind: u32,
    arrays: std::vec::IntoIter<Range<usize>>,
}

impl ArrayFile {
    /// Maps a file, and reads it once to check that it is whole.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        if cfg!(target_endian = "big") {
            return Err(FileError::Endian);
        }
        let file = open_input(path)?;
        #[expect(unsafe_code, reason = "mapping a file is unsafe: another process may change it")]
        // SAFETY: this program replaces such files by renaming and never writes into one. Where
        // another one does, numbers are others, which any bytes are; a file that is cut short ends
        // the process (`storage::end_with_a_line`).
        let file = Arc::new(unsafe { Mmap::map(&file)? });
        let (kind, list) = list(&file)?;
        let mut end = HEADER_BYTES + BYTES_PER_ENTRY * list.len();
        let mut arrays = Vec::new();
        for &(length, expected) in &list {
            let start = end.next_multiple_of(ARRAY_ALIGNMENT);
            let stop = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
            let array = stop.and_then(|stop| file.get(start..stop)).ok_or(FileError::Length)?;
            if file[end..start].iter().any(|&byte| byte != 0) || checksum(array) != expected {
                return Err(FileError::Checksum);
            }
            end = start + array.len();
            arrays.push(start..end);
        }
        match end == file.len() {
            true => Ok(Self { file, kind, arrays: arrays.into_iter() }),
            false => Err(FileError::Length),
        }
    }

    /// The number that was written with the arrays.
    pub(crate) fn kind(&self) -> u32 {
        self.kind
    }

    /// The next array, of `len` numbers.
    pub(crate) fn take<T: Pod>(&mut self, len: usize) -> Result<Array<T>, FileError> {
        let missing = || FileError::Mismatch("there are too few arrays".into());
        let bytes = self.arrays.next().ok_or_else(missing)?;
        let (actual, expected) = (bytes.len(), len.checked_mul(size_of::<T>()));
        let array = Array::mapped(&self.file, bytes).filter(|_| expected == Some(actual));
        array.ok_or_else(|| {
            FileError::Mismatch(format!(
                "an array has {actual} bytes in the place of {len} times {}",
                size_of::<T>()
            ))
        })
    }

    /// As [`take`](Self::take), of numbers that are all finite.
    pub(crate) fn take_finite(&mut self, len: usize) -> Result<Array<f32>, FileError> {
        let array = self.take::<f32>(len)?;
        match array
            .par_chunks(BYTES_PER_SUM)
            .all(|piece| piece.iter().all(|value| value.is_finite()))
        {
            true => Ok(array),
            false => Err(FileError::Value("numbers that are not finite")),
        }
    }

    /// Ends the reading: nothing may be left.
    pub(crate) fn finish(self) -> Result<(), FileError> {
        match self.arrays.len() {
            0 => Ok(()),
            left => Err(FileError::Mismatch(format!("there are {left} arrays too many"))),
        }
    }
}

/// The number beside the arrays, and of each array its length and sum.
fn list(file: &[u8]) -> Result<(u32, Vec<(u64, u32)>), FileError> {
    let header = file.first_chunk::<HEADER_BYTES>().filter(|header| header.starts_with(MAGIC));
    let header = header.ok_or(FileError::Foreign)?;
    let number =
        |bytes: &[u8], at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let wide = |bytes: &[u8], at: usize| {
        u64::from(number(bytes, at + 4)) << 32 | u64::from(number(bytes, at))
    };
    match number(header, 8) {
        FORMAT_VERSION => {}
        other => return Err(FileError::Version(other)),
    }
    if wide(header, 16) != file.len() as u64 {
        return Err(FileError::Length);
    }
    let list = (number(header, 24) as usize)
        .checked_mul(BYTES_PER_ENTRY)
        .and_then(|bytes| file[HEADER_BYTES..].get(..bytes))
        .ok_or(FileError::Length)?;
    if crc32c_append(crc32c(&header[..28]), list) != number(header, 28) {
        return Err(FileError::Checksum);
    }
    let entries = list.chunks(BYTES_PER_ENTRY).map(|entry| (wide(entry, 0), number(entry, 8)));
    Ok((number(header, 12), entries.collect()))
}

/// CRC-32C, on all threads.
fn checksum(bytes: &[u8]) -> u32 {
    let pieces: Vec<u32> = bytes.par_chunks(BYTES_PER_SUM).map(crc32c).collect();
    let sums = pieces.into_iter().zip(bytes.chunks(BYTES_PER_SUM));
    sums.fold(0, |sum, (next, piece)| crc32c_combine(sum, next, piece.len()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn path() -> (tempfile::TempDir, std::path::PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model.packed");
        (root, path)
    }

    #[test]
    fn arrays_come_back() {
        let (_root, path) = path();
        let long: Vec<u8> = (0..3 * BYTES_PER_SUM + 5).map(|i| (i * 7919) as u8).collect();
        let floats = [1.0f32, -2.5, 0.0];
        write(&path, 7, &[&long, bytemuck::cast_slice(&floats), &[]]).unwrap();
        let mut file = ArrayFile::open(&path).unwrap();
        assert_eq!(file.kind(), 7);
        assert_eq!(file.take::<u8>(long.len()).unwrap()[..], long);
        assert_eq!(file.take_finite(3).unwrap()[..], floats);
        assert!(file.take::<f32>(0).unwrap().is_empty());
        file.finish().unwrap();
    }

    #[test]
    fn every_damage_is_seen() {
        let (_root, path) = path();
        write(&path, 0, &[&[1, 2, 3], &[4; 70]]).unwrap();
        let whole = fs::read(&path).unwrap();
        let damage = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            ArrayFile::open(&path).unwrap_err()
        };
        for len in 0..whole.len() {
            let found = damage(&whole[..len]);
            let expected = if len < HEADER_BYTES { "Foreign" } else { "Length" };
            assert!(len == 0 || format!("{found:?}").starts_with(expected), "{len}: {found:?}");
        }
        assert!(matches!(damage(&[&whole[..], &[0]].concat()), FileError::Length));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                damage(&bytes);
            }
        }
        // A list that is as it was written, of arrays longer than the file can be.
        for count in [1u32, u32::MAX] {
            let mut bytes = whole[..64].to_vec();
            bytes[16..24].copy_from_slice(&64u64.to_le_bytes());
            bytes[24..28].copy_from_slice(&count.to_le_bytes());
            bytes[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
            let sum = crc32c_append(crc32c(&bytes[..28]), &bytes[32..48]);
            bytes[28..32].copy_from_slice(&sum.to_le_bytes());
            assert!(matches!(damage(&bytes), FileError::Length), "{count}");
        }
        fs::write(&path, &whole).unwrap();
        assert!(ArrayFile::open(&path).is_ok());
    }

    #[test]
    fn other_arrays_than_expected_are_an_error() {
        let (_root, path) = path();
        write(&path, 0, &[bytemuck::cast_slice(&[1.0f32, f32::NAN])]).unwrap();
        let open = || ArrayFile::open(&path).unwrap();
        assert!(matches!(open().take::<f32>(3), Err(FileError::Mismatch(_))));
        assert!(matches!(open().take::<f32>(usize::MAX), Err(FileError::Mismatch(_))));
        assert!(matches!(open().take_finite(2), Err(FileError::Value(_))));
        assert!(matches!(open().finish(), Err(FileError::Mismatch(_))));
        let mut file = open();
        file.take::<f32>(2).unwrap();
        assert!(matches!(file.take::<f32>(0), Err(FileError::Mismatch(_))));
    }
}
