use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Take},
};

use bytes::Bytes;
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};
use thiserror::Error;

/// A page, or what describes pages, is larger than a piece.
#[derive(Debug, Error)]
#[error("a page takes more than {mib} MiB; data.piece_mib allows more")]
pub(super) struct TooLarge {
    mib: u64,
}

/// A file, of which no more than a piece is read at a time.
pub(super) struct LimitedFile {
    file: File,
    len: u64,
    piece: u64,
}

impl LimitedFile {
    pub(super) fn new(mut file: File, piece: u64) -> io::Result<Self> {
        let len = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, len, piece })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The most bytes that a page, or what describes pages, may take.
    pub(super) fn piece(&self) -> usize {
        usize::try_from(self.piece).unwrap_or(usize::MAX)
    }

    /// An error unless `bytes` are no more than a piece.
    pub(super) fn check_piece(&self, bytes: u64) -> Result<()> {
        if bytes <= self.piece {
            return Ok(());
        }
        Err(ParquetError::External(Box::new(TooLarge { mib: self.piece >> 20 })))
    }

    fn at(&self, start: u64) -> Result<File> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }
}

impl Length for LimitedFile {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for LimitedFile {
    type T = Take<BufReader<File>>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(self.at(start)?).take(self.piece))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.len) {
            return Err(ParquetError::EOF("a part lies beyond the end of the file".into()));
        }
        self.check_piece(length as u64)?;
        let mut bytes = vec![0; length];
        self.at(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}
