use std::{
    io::{self, Cursor},
    path::PathBuf,
    sync::Arc,
};

use super::{
    DataError,
    chunks::{Chunk, Chunks, End},
    tally::Tally,
};

/// Rows without the field, at the beginning of a file, after which it is taken for another one.
const MAX_ROWS_WITHOUT_FIELD: u64 = 1000;

/// One of a file's many documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    Text(Vec<u8>),
    /// There is a field for a text, but no text in it.
    Null,
    /// There is no such field, and what is instead.
    Missing(String),
    /// What is wrong.
    Bad(String),
}

/// A file of many documents.
pub(super) trait Rows {
    /// What it calls a row.
    const UNIT: &'static str;

    /// The next row and its number, from 1 on; `None` at the end.
    ///
    /// # Errors
    /// What no further row can be read after.
    fn next_row(&mut self) -> Result<Option<(u64, Row)>, DataError>;
}

/// The texts of a file of many documents. Rows without a text are none, and told to the tally.
pub(super) struct Documents<R> {
    rows: R,
    path: PathBuf,
    tally: Arc<Tally>,
    /// Whether a row had the field.
    is_there: bool,
    /// The first row that had not, and how many there were before one had.
    missing: Option<DataError>,
    without: u64,
    document: Option<Chunks<Cursor<Vec<u8>>>>,
    done: bool,
}

impl<R: Rows> Documents<R> {
    pub(super) fn new(rows: R, path: PathBuf, tally: Arc<Tally>) -> Self {
        let (is_there, missing, without, document, done) = (false, None, 0, None, false);
        Self { rows, path, tally, is_there, missing, without, document, done }
    }

    /// The next text; `None` at the end.
    fn text(&mut self) -> Result<Option<Vec<u8>>, DataError> {
        while let Some((number, row)) = self.rows.next_row()? {
            let error =
                |reason| DataError::Row { path: self.path.clone(), unit: R::UNIT, number, reason };
            match row {
                Row::Text(text) => {
                    self.is_there = true;
                    return Ok(Some(text));
                }
                Row::Null => {
                    self.is_there = true;
                    self.tally.without(&self.path, R::UNIT, number);
                }
                Row::Missing(instead) => {
                    self.tally.without(&self.path, R::UNIT, number);
                    self.without += 1;
                    self.missing.get_or_insert_with(|| error(instead));
                    if !self.is_there && self.without == MAX_ROWS_WITHOUT_FIELD {
                        break;
                    }
                }
                Row::Bad(reason) => self.tally.bad(error(reason))?,
            }
        }
        match self.missing.take() {
            Some(error) if !self.is_there => Err(error),
            _ => Ok(None),
        }
    }
}

impl<R: Rows> Iterator for Documents<R> {
    type Item = Result<Chunk, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(chunk) = self.document.as_mut().and_then(Iterator::next) {
                let path = self.path.clone();
                return Some(chunk.map_err(|error: io::Error| DataError::Read { path, error }));
            }
            if self.done {
                return None;
            }
            match self.text() {
                Ok(Some(text)) => {
                    self.document = Some(Chunks::new(Cursor::new(text), End::Record));
                }
                Ok(None) => self.done = true,
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::chunks::BYTES_PER_CHUNK;

    struct Given<I>(I, u64);

    impl<I: Iterator<Item = Row>> Rows for Given<I> {
        const UNIT: &'static str = "row";

        fn next_row(&mut self) -> Result<Option<(u64, Row)>, DataError> {
            self.1 += 1;
            Ok(self.0.next().map(|row| (self.1, row)))
        }
    }

    /// The texts or the error, and the line about what was passed over.
    fn read(rows: &[Row], skip_bad: u64) -> (Result<Vec<String>, String>, Option<String>) {
        let tally = Arc::new(Tally::new(skip_bad));
        let rows = Given(rows.iter().cloned(), 0);
        let texts = Documents::new(rows, "a".into(), tally.clone())
            .map(|chunk| chunk.map(|chunk| String::from_utf8(chunk.text).unwrap()))
            .collect::<Result<_, _>>();
        (texts.map_err(|error| error.to_string()), tally.line())
    }

    fn text(text: &str) -> Row {
        Row::Text(text.into())
    }

    #[test]
    fn rows_without_a_text_are_no_documents_and_said() {
        let missing = || Row::Missing("no field".into());
        let rows = [missing(), text("a"), text(""), Row::Null, text("b"), missing()];
        let (texts, line) = read(&rows, 0);
        assert_eq!(texts.unwrap(), ["a", "b"]);
        assert_eq!(line.unwrap(), "passed over: 3 rows without a text (the first: a, row 1)");
        assert_eq!(read(&[text("a")], 0), (Ok(vec!["a".into()]), None));
        assert_eq!(read(&[Row::Null], 0).0, Ok(vec![]));
    }

    #[test]
    fn a_file_without_the_field_is_an_error() {
        let missing = || Row::Missing("no field".into());
        let expected = Err("a, row 1: no field".into());
        assert_eq!(read(&[missing()], 0).0, expected);
        assert_eq!(read(&[missing(), missing()], 9).0, expected);
        let late = vec![missing(); 999].into_iter().chain([text("a")]);
        assert!(read(&late.collect::<Vec<_>>(), 0).0.is_ok());
        let too_late = vec![missing(); 1000].into_iter().chain([text("a")]);
        assert_eq!(read(&too_late.collect::<Vec<_>>(), 0).0, expected);
    }

    #[test]
    fn so_many_bad_rows_are_passed_over() {
        let bad = |reason: &str| Row::Bad(reason.into());
        let rows = [text("a"), bad("torn"), text("b"), bad("worn")];
        let error = "a, row 2: torn; data.skip_bad passes over so many such rows".into();
        assert_eq!(read(&rows, 0).0, Err(error));
        assert!(read(&rows, 1).0.unwrap_err().starts_with("a, row 4: worn"));
        let (texts, line) = read(&rows, 2);
        assert_eq!(texts.unwrap(), ["a", "b"]);
        assert_eq!(line.unwrap(), "passed over: 2 bad rows (the first: a, row 2: torn)");
    }

    #[test]
    fn long_texts_come_in_chunks() {
        let tally = Arc::new(Tally::new(0));
        let rows = Given(vec![Row::Text(vec![b'x'; BYTES_PER_CHUNK + 5])].into_iter(), 0);
        let chunks = Documents::new(rows, "a".into(), tally);
        let chunks: Vec<_> =
            chunks.map(|chunk| chunk.unwrap()).map(|c| (c.text.len(), c.end)).collect();
        assert_eq!(chunks, [(BYTES_PER_CHUNK, End::Within), (5, End::Record)]);
    }
}
