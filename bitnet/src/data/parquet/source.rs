use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Take},
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};
use thiserror::Error;

use super::thrift;

/// Bytes that hold the headers of most pages; statistics may make one longer.
const BYTES_OF_HEADER: u64 = 1 << 12;

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

/// The file as the crate's reader of pages sees it.
pub(super) struct PageSource(pub(super) Arc<LimitedFile>);

impl Length for PageSource {
    fn len(&self) -> u64 {
        self.0.len
    }
}

impl ChunkReader for PageSource {
    type T = Cursor<Vec<u8>>;

    /// The header of a page, which is all that is read like this. The crate would go through a list
    /// for as many elements as the list says, whether or not the file has them.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut file = self.0.at(start)?;
        let mut header = Vec::new();
        let mut wanted = BYTES_OF_HEADER;
        loop {
            let room = wanted.min(self.0.piece) - header.len() as u64;
            let read = file.by_ref().take(room).read_to_end(&mut header)?;
            if let Some(len) = thrift::struct_len(&header) {
                header.truncate(len);
                return Ok(Cursor::new(header));
            }
            if (read as u64) < room {
                return Err(ParquetError::General("the header of a page makes no sense".into()));
            }
            if wanted >= self.0.piece {
                self.0.check_piece(u64::MAX)?;
            }
            wanted *= 4;
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn source(bytes: &[u8], piece: u64) -> PageSource {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        PageSource(Arc::new(LimitedFile::new(file, piece).unwrap()))
    }

    #[test]
    fn headers_are_read_whole_or_refused_at_once() {
        // A text of `len` bytes in a struct.
        let header = |len: u32| {
            let len_bytes = [0x80 | len as u8, 0x80 | (len >> 7) as u8, (len >> 14) as u8];
            [b"\x18", &len_bytes[..], &vec![b'x'; len as usize], b"\0"].concat()
        };
        for len in [200, 5_000, 70_000] {
            let bytes = [b"PAR1", &header(len)[..], b"data"].concat();
            let read = source(&bytes, 1 << 20).get_read(4).unwrap().into_inner();
            assert_eq!(read, header(len));
        }
        let error = source(&header(70_000), 1 << 16).get_read(0).unwrap_err().to_string();
        assert!(error.contains("data.piece_mib"), "{error}");
        // 2³¹ − 1 doubles, of which the file has one.
        let endless = [&[0x19, 0xf7, 0xff, 0xff, 0xff, 0xff, 0x07][..], &[1; 8]].concat();
        let error = source(&endless, 1 << 20).get_read(0).unwrap_err().to_string();
        assert!(error.contains("makes no sense"), "{error}");
    }
}
