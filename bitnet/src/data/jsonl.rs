use std::{
    io::{BufRead, Read},
    path::{Path, PathBuf},
};

use super::{
    DataError, json_text,
    records::{Row, Rows},
};

/// A JSONL file: an object a line, with the text in one of its fields. Empty lines are passed over.
pub(super) struct JsonLines<R> {
    reader: R,
    path: PathBuf,
    field: String,
    /// Longest line, in bytes.
    piece: u64,
    number: u64,
}

impl<R: BufRead> JsonLines<R> {
    pub(super) fn new(reader: R, path: &Path, field: &str, piece: u64) -> Self {
        Self { reader, path: path.into(), field: field.into(), piece, number: 0 }
    }
}

impl<R: BufRead> Rows for JsonLines<R> {
    const UNIT: &'static str = "line";

    fn next_row(&mut self) -> Result<Option<(u64, Row)>, DataError> {
        loop {
            let mut line = Vec::new();
            let limit = self.piece.saturating_add(1);
            let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut line);
            read.map_err(|error| DataError::Read { path: self.path.clone(), error })?;
            if line.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            if line.len() as u64 > self.piece {
                let (path, unit, number) = (self.path.clone(), Self::UNIT, self.number);
                let mib = self.piece >> 20;
                let reason = format!("longer than {mib} MiB; data.piece_mib allows more");
                return Err(DataError::Row { path, unit, number, reason });
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some((self.number, json_text::text(&line, &self.field))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<(u64, Row)>, String> {
        let mut lines = JsonLines::new(text, "a.jsonl".as_ref(), "text", 100);
        let rows = std::iter::from_fn(|| lines.next_row().transpose());
        rows.collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    #[test]
    fn a_document_a_line() {
        let lines = b"{\"text\": \"a\\nb\"}\r\n\n  \n{\"n\": 1, \"text\": \"\xc3\xb1\"}";
        let text = |text: &str| Row::Text(text.into());
        assert_eq!(read(lines), Ok(vec![(1, text("a\nb")), (4, text("ñ"))]));
        assert_eq!(read(b"\n5\n"), Ok(vec![(2, Row::Bad("no JSON object".into()))]));
        assert_eq!(read(b""), Ok(vec![]));
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let expected = Err("a.jsonl, line 2: longer than 0 MiB; data.piece_mib allows more".into());
        assert_eq!(read(&[b"\n", &[b' '; 101][..]].concat()), expected);
        assert_eq!(read(&[b"\n", &[b' '; 100][..]].concat()), Ok(vec![]));
    }
}
