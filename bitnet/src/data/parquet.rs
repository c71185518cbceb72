use std::{
    fs::File,
    io::{Cursor, Seek},
    path::{Path, PathBuf},
    vec,
};

use parquet::{
    basic::Type,
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, ByteArrayType},
    errors::ParquetError,
    file::reader::{FileReader, SerializedFileReader},
};

use super::{
    DataError,
    chunks::{Chunk, Chunks, End},
};
use crate::progress::Progress;

/// Rows that are read together.
const ROWS: usize = 64;

/// The documents of a Parquet file: the values of one of its string columns.
pub(super) struct ParquetRows<'a> {
    reader: SerializedFileReader<File>,
    path: PathBuf,
    column: usize,
    progress: &'a dyn Progress,
    next_group: usize,
    group: Option<ColumnReaderImpl<ByteArrayType>>,
    rows: vec::IntoIter<ByteArray>,
    /// Rows given so far.
    row: u64,
    document: Option<Chunks<Cursor<Vec<u8>>>>,
    done: bool,
}

impl<'a> ParquetRows<'a> {
    pub(super) fn open(
        path: &Path,
        field: &str,
        progress: &'a dyn Progress,
    ) -> Result<Self, DataError> {
        let error = |reason: String| DataError::Parquet { path: path.into(), reason };
        let unreadable = |error| DataError::Read { path: path.into(), error };
        let mut file = File::open(path).map_err(unreadable)?;
        let size = file.seek(std::io::SeekFrom::End(0)).map_err(unreadable)?;
        let reader = SerializedFileReader::new(file).map_err(|e| error(damaged(&e)))?;
        let metadata = reader.metadata();
        let schema = metadata.file_metadata().schema_descr();
        let columns = schema.columns();
        let found = columns.iter().position(|column| column.path().parts() == [field]);
        let Some(column) = found else {
            let names: Vec<_> = columns.iter().take(8).map(|c| c.path().string()).collect();
            return Err(error(format!(
                "no column \"{field}\" (data.text_field); there is {}",
                names.join(", ")
            )));
        };
        let description = &columns[column];
        if description.physical_type() != Type::BYTE_ARRAY || description.max_rep_level() > 0 {
            return Err(error(format!("column \"{field}\" holds no strings")));
        }
        // What is not of this column is passed over.
        let text: i64 =
            metadata.row_groups().iter().map(|group| group.column(column).compressed_size()).sum();
        progress.advance(size.saturating_sub(text.max(0) as u64));
        Ok(Self {
            reader,
            path: path.into(),
            column,
            progress,
            next_group: 0,
            group: None,
            rows: Vec::new().into_iter(),
            row: 0,
            document: None,
            done: false,
        })
    }

    /// The text of the next row; `None` at the end.
    fn document(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(value) = self.rows.next() {
                self.row += 1;
                let text = value.data();
                return match std::str::from_utf8(text) {
                    Ok(_) => Ok(Some(text.to_vec())),
                    Err(_) => Err(format!("row {}: invalid UTF-8", self.row)),
                };
            }
            match &mut self.group {
                Some(group) => {
                    let (mut levels, mut values) = (Vec::new(), Vec::new());
                    let read = group.read_records(ROWS, Some(&mut levels), None, &mut values);
                    let (records, present, _) = read.map_err(|error| damaged(&error))?;
                    if present < records {
                        let absent = levels.iter().position(|&level| level == 0).unwrap_or(0);
                        return Err(format!("row {}: no text", self.row + absent as u64 + 1));
                    }
                    if records == 0 {
                        self.group = None;
                    }
                    self.rows = values.into_iter();
                }
                None if self.next_group == self.reader.num_row_groups() => return Ok(None),
                None => {
                    let group = self.reader.get_row_group(self.next_group);
                    let column = group.and_then(|group| group.get_column_reader(self.column));
                    let ColumnReader::ByteArrayColumnReader(column) =
                        column.map_err(|error| damaged(&error))?
                    else {
                        return Err("a group of rows holds no strings".into());
                    };
                    let group = self.reader.metadata().row_group(self.next_group);
                    let bytes = group.column(self.column).compressed_size();
                    self.progress.advance(bytes.max(0) as u64);
                    self.next_group += 1;
                    self.group = Some(column);
                }
            }
        }
    }
}

fn damaged(error: &ParquetError) -> String {
    format!("damaged: {}", error.to_string().replace('\n', " "))
}

impl Iterator for ParquetRows<'_> {
    type Item = Result<Chunk, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(chunk) = self.document.as_mut().and_then(Iterator::next) {
                let path = self.path.clone();
                return Some(chunk.map_err(|error| DataError::Read { path, error }));
            }
            if self.done {
                return None;
            }
            match self.document() {
                Ok(Some(text)) => {
                    self.document = Some(Chunks::new(Cursor::new(text), End::Record));
                }
                Ok(None) => self.done = true,
                Err(reason) => {
                    self.done = true;
                    return Some(Err(DataError::Parquet { path: self.path.clone(), reason }));
                }
            }
        }
    }
}
