use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;
use bitnet::storage::open_own;
use serde::Serialize;

/// A table that grows row by row, as CSV. Its header is written with the first row.
pub struct Table {
    path: PathBuf,
    writer: csv::Writer<File>,
}

impl Table {
    /// Opens the table, or begins one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let (file, bytes) = open_own(path, OpenOptions::new().create(true).append(true))
            .and_then(|file| file.metadata().map(|metadata| (file, metadata.len())))
            .with_context(|| format!("cannot write {}", path.display()))?;
        let writer = csv::WriterBuilder::new().has_headers(bytes == 0).from_writer(file);
        Ok(Self { path: path.into(), writer })
    }

    /// Cuts off what an interrupted session wrote after the first `bytes` of the table. Gives
    /// `false` if there is less: then rows are lost, and only whole ones are left.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn cut(path: &Path, bytes: u64) -> anyhow::Result<bool> {
        let cut = || -> io::Result<bool> {
            if bytes == 0 {
                return match open_own(path, OpenOptions::new().read(true)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
                    file => file.and_then(|_| fs::remove_file(path)).map(|()| true),
                };
            }
            let options =
                OpenOptions::new().create(true).truncate(false).read(true).write(true).clone();
            let file = open_own(path, &options)?;
            let mut kept = Vec::new();
            (&file).take(bytes).read_to_end(&mut kept)?;
            let whole_rows = kept.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            file.set_len(whole_rows as u64)?;
            Ok(kept.len() as u64 == bytes)
        };
        cut().with_context(|| format!("cannot cut {}", path.display()))
    }

    /// Flushes the table to disk and returns its length.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sync(&mut self) -> anyhow::Result<u64> {
        let file = self.writer.get_ref();
        file.sync_all()
            .and_then(|()| Ok(file.metadata()?.len()))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Adds rows of the same columns as those before.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn write(&mut self, rows: impl IntoIterator<Item = impl Serialize>) -> anyhow::Result<()> {
        let write = || -> io::Result<()> {
            for row in rows {
                // As the error that it is: a full disk is told by it.
                self.writer.serialize(row).map_err(io::Error::from)?;
            }
            self.writer.flush()
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_leaves_whole_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        // Lost rows are told of, and no half row is left.
        fs::write(&path, "step\n1\n2").unwrap();
        assert!(!Table::cut(&path, 1000).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "step\n1\n");
        fs::remove_file(&path).unwrap();
        assert!(!Table::cut(&path, 1000).unwrap());
        // Cut before its first row, a table begins again with its header.
        fs::write(&path, "step\n1\n").unwrap();
        assert!(Table::cut(&path, 0).unwrap() && !path.exists());
        assert!(Table::cut(&path, 0).unwrap());
    }
}
