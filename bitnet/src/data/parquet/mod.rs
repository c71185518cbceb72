//! The string column of a Parquet file. Its pages are read by the `parquet` crate, which takes what
//! a file says of itself at its word, and panics where bytes make no sense: so what memory depends
//! on is checked before, and panics end here.

mod delta;
mod footer;
mod pages;
mod source;
mod thrift;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::{Compression, Type},
    column::reader::ColumnReaderImpl,
    data_type::{ByteArray, ByteArrayType},
    errors::ParquetError,
    file::{metadata::ParquetMetaData, metadata::ParquetMetaDataReader},
    schema::types::ColumnDescPtr,
};

use self::{
    pages::Pages,
    source::{LimitedFile, TooLarge},
};
use super::{
    DataError,
    records::{Row, Rows},
};
use crate::{panics::catch_panic, progress::Progress};

/// The rows of a Parquet file.
pub(super) struct ParquetRows<'a> {
    source: Arc<LimitedFile>,
    metadata: ParquetMetaData,
    description: ColumnDescPtr,
    path: PathBuf,
    column: usize,
    progress: &'a dyn Progress,
    next_group: usize,
    group: Option<ColumnReaderImpl<ByteArrayType>>,
    number: u64,
}

/// What ends the reading of a file.
enum Failure {
    Damage(ParquetError),
    Other(String),
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        Self::Damage(error)
    }
}

impl Failure {
    fn reason(self) -> String {
        match self {
            Self::Damage(ParquetError::External(error)) if error.is::<TooLarge>() => {
                error.to_string()
            }
            Self::Damage(ParquetError::NYI(what)) => format!("not supported: {}", one_line(&what)),
            Self::Damage(error) => format!("damaged: {}", one_line(&error.to_string())),
            Self::Other(reason) => reason,
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl<'a> ParquetRows<'a> {
    /// Opens a file whose texts are in the column `field`, by its path with dots. Its pages and
    /// what describes them take at most `piece` bytes each.
    pub(super) fn open(
        path: &Path,
        field: &str,
        piece: u64,
        progress: &'a dyn Progress,
    ) -> Result<Self, DataError> {
        let file = super::open(path)?;
        let unreadable = |error| DataError::Read { path: path.into(), error };
        let source = LimitedFile::new(file, piece).map_err(unreadable)?;
        guarded(|| Self::read(path, field, Arc::new(source), progress))
            .map_err(|reason| DataError::Parquet { path: path.into(), reason })
    }

    fn read(
        path: &Path,
        field: &str,
        source: Arc<LimitedFile>,
        progress: &'a dyn Progress,
    ) -> Result<Self, Failure> {
        footer::check(&source)?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&*source)?;
        let schema = metadata.file_metadata().schema_descr();
        let columns = schema.columns();
        let found = (columns.iter().position(|column| column.path().parts() == [field]))
            .or(columns.iter().position(|column| column.path().string() == field));
        let Some(column) = found else {
            let names: Vec<_> = columns.iter().take(8).map(|c| c.path().string()).collect();
            return Err(Failure::Other(format!(
                "no column \"{field}\" (data.text_field); there is {}",
                names.join(", ")
            )));
        };
        let description = schema.column(column);
        if description.physical_type() != Type::BYTE_ARRAY || description.max_rep_level() > 0 {
            return Err(Failure::Other(format!("column \"{field}\" holds no strings")));
        }
        // What is not of this column is passed over.
        let sizes = (0..metadata.num_row_groups()).map(|group| size(&metadata, group, column));
        let text = sizes.fold(0u64, u64::saturating_add);
        progress.advance(source.len().saturating_sub(text));
        let (next_group, group, number, path) = (0, None, 0, path.into());
        Ok(Self {
            source,
            metadata,
            description,
            path,
            column,
            progress,
            next_group,
            group,
            number,
        })
    }

    fn row(&mut self) -> Result<Option<Row>, Failure> {
        let present = self.description.max_def_level();
        loop {
            if let Some(group) = &mut self.group {
                let (mut levels, mut values) = (Vec::new(), Vec::new());
                // One at a time: each may be as large as a page.
                let (rows, ..) = group.read_records(1, Some(&mut levels), None, &mut values)?;
                if rows > 0 {
                    let is_null = levels.first().is_some_and(|&level| level < present);
                    return Ok(Some(if is_null { Row::Null } else { text(values.pop()) }));
                }
                self.group = None;
            }
            if self.next_group == self.metadata.num_row_groups() {
                return Ok(None);
            }
            let column = self.metadata.row_group(self.next_group).column(self.column);
            if !pages::is_supported(column.compression()) {
                return Err(Failure::Other(format!(
                    "not supported: compressed with {}; Snappy, gzip, Zstandard, Brotli and LZ4_RAW \
                     are read",
                    codec(column.compression())
                )));
            }
            let rows = self.metadata.row_group(self.next_group).num_rows();
            let pages = Pages::new(self.source.clone(), column, rows)?;
            self.group = Some(ColumnReaderImpl::new(self.description.clone(), Box::new(pages)));
            self.progress.advance(size(&self.metadata, self.next_group, self.column));
            self.next_group += 1;
        }
    }
}

fn text(value: Option<ByteArray>) -> Row {
    // A value that the levels promise and the page has not is an error of the reader.
    let Some(value) = value else { return Row::Null };
    match std::str::from_utf8(value.data()) {
        Ok(text) => Row::Text(text.into()),
        Err(_) => Row::Bad("invalid UTF-8".into()),
    }
}

/// Bytes of a column in a group of rows.
fn size(metadata: &ParquetMetaData, group: usize, column: usize) -> u64 {
    metadata.row_group(group).column(column).compressed_size().max(0) as u64
}

fn codec(codec: Compression) -> &'static str {
    match codec {
        Compression::LZO => "LZO",
        Compression::LZ4 => "the LZ4 of Hadoop",
        _ => "another method",
    }
}

/// Does work that a damaged file may make panic.
fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, String> {
    match catch_panic(work) {
        Ok(result) => result.map_err(Failure::reason),
        Err(panic) => Err(format!("damaged: {}", one_line(&panic.to_string()))),
    }
}

impl Rows for ParquetRows<'_> {
    const UNIT: &'static str = "row";

    fn next_row(&mut self) -> Result<Option<(u64, Row)>, DataError> {
        let row = guarded(|| self.row());
        let row = row.map_err(|reason| DataError::Parquet { path: self.path.clone(), reason })?;
        self.number += 1;
        Ok(row.map(|row| (self.number, row)))
    }
}
