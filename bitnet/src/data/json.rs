use std::{
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use super::{
    DataError, json_text,
    records::{Row, Rows},
};

/// A JSON file: an array of objects, or objects one after the other, over a line each or many,
/// with the text in one of the fields.
pub(super) struct JsonValues<R> {
    reader: R,
    path: PathBuf,
    field: String,
    /// Longest record, in bytes.
    piece: u64,
    number: u64,
    place: Place,
}

/// What comes next in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// The first element of an array, or its end.
    First,
    /// An element after a comma.
    Element,
    /// A comma, or the end of the array.
    Comma,
    /// A value of those that stand one after the other.
    Value,
    End,
}

impl<R: BufRead> JsonValues<R> {
    pub(super) fn new(reader: R, path: &Path, field: &str, piece: u64) -> Self {
        let (path, field) = (path.into(), field.into());
        Self { reader, path, field, piece, number: 0, place: Place::Start }
    }

    fn error(&self, reason: impl Into<String>) -> DataError {
        let (path, unit, number) = (self.path.clone(), Self::UNIT, self.number + 1);
        DataError::Row { path, unit, number, reason: reason.into() }
    }

    fn unreadable(&self, error: io::Error) -> DataError {
        DataError::Read { path: self.path.clone(), error }
    }

    /// The next byte that is no space, which is not taken.
    fn peek(&mut self) -> Result<Option<u8>, DataError> {
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.unreadable(error)),
                Ok(buffer) => buffer,
            };
            if buffer.is_empty() {
                return Ok(None);
            }
            let spaces = buffer.iter().take_while(|byte| is_space(**byte)).count();
            let next = buffer.get(spaces).copied();
            self.reader.consume(spaces);
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// Whether another value begins here.
    fn find_value(&mut self) -> Result<bool, DataError> {
        loop {
            let next = self.peek()?;
            let unended = |this: &Self| this.error("the file ends within the array");
            let (place, taken) = match (self.place, next) {
                (Place::Start, Some(b'[')) => (Place::First, true),
                (Place::Start, _) => (Place::Value, false),
                (Place::Value, next) => return Ok(next.is_some()),
                (Place::First | Place::Comma, Some(b']')) => (Place::End, true),
                (Place::Comma, Some(b',')) => (Place::Element, true),
                (Place::Comma, Some(_)) => return Err(self.error("no comma before it")),
                (Place::First | Place::Element, Some(b',' | b']')) => {
                    return Err(self.error("no value between two commas"));
                }
                (Place::First | Place::Element, Some(_)) => return Ok(true),
                (Place::First | Place::Element | Place::Comma, None) => return Err(unended(self)),
                (Place::End, None) => return Ok(false),
                (Place::End, Some(_)) => return Err(self.error("something follows the array")),
            };
            self.place = place;
            if taken {
                self.reader.consume(1);
            }
        }
    }

    /// The bytes of a value. Where it ends depends on brackets and quotes alone.
    fn value(&mut self) -> Result<Vec<u8>, DataError> {
        let mut value = Vec::new();
        let mut scan = Scan::default();
        let in_array = self.place != Place::Value;
        loop {
            let buffer = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.unreadable(error)),
                Ok(buffer) => buffer,
            };
            // What is not ended is no valid JSON, which is said of it.
            let is_end = buffer.is_empty();
            let (len, ends) = scan.end(buffer, in_array);
            value.extend_from_slice(&buffer[..len]);
            self.reader.consume(len);
            if value.len() as u64 > self.piece {
                let mib = self.piece >> 20;
                let reason = format!("longer than {mib} MiB; data.piece_mib allows more");
                return Err(self.error(reason));
            }
            if ends || is_end {
                return Ok(value);
            }
        }
    }
}

/// How far a value was read.
#[derive(Default)]
struct Scan {
    depth: u64,
    within_string: bool,
    after_backslash: bool,
}

impl Scan {
    /// How much of `bytes` belongs to the value, and whether it ends there.
    fn end(&mut self, bytes: &[u8], in_array: bool) -> (usize, bool) {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.within_string {
                match byte {
                    _ if self.after_backslash => self.after_backslash = false,
                    b'\\' => self.after_backslash = true,
                    b'"' => self.within_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.within_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return (at + 1, true);
                    }
                }
                b',' | b']' if self.depth == 0 && in_array => return (at, true),
                byte if self.depth == 0 && is_space(byte) => return (at, true),
                _ => {}
            }
        }
        (bytes.len(), false)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

impl<R: BufRead> Rows for JsonValues<R> {
    const UNIT: &'static str = "record";

    fn next_row(&mut self) -> Result<Option<(u64, Row)>, DataError> {
        if !self.find_value()? {
            return Ok(None);
        }
        let value = self.value()?;
        if self.place != Place::Value {
            self.place = Place::Comma;
        }
        self.number += 1;
        Ok(Some((self.number, json_text::text(&value, &self.field))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows, read through a buffer of each size.
    fn read(text: &str) -> Result<Vec<Row>, String> {
        let read = |size: usize| {
            let reader = io::BufReader::with_capacity(size, text.as_bytes());
            let mut values = JsonValues::new(reader, "a.json".as_ref(), "text", 100);
            let rows = std::iter::from_fn(|| values.next_row().transpose());
            let rows = rows.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
            assert!(rows.iter().zip(1..).all(|((number, _), expected)| *number == expected));
            Ok(rows.into_iter().map(|(_, row)| row).collect())
        };
        let whole = read(1 << 10);
        assert_eq!(read(1), whole);
        whole
    }

    fn texts(texts: &[&str]) -> Result<Vec<Row>, String> {
        Ok(texts.iter().map(|text| Row::Text((*text).into())).collect())
    }

    #[test]
    fn arrays_lines_and_objects_over_lines() {
        let (a, b) = (r#"{"text": "a] }, \" \\", "n": [1, {}]}"#, r#"{"text": "b"}"#);
        let expected = texts(&["a] }, \" \\", "b"]);
        for file in [
            format!("[{a},{b}]"),
            format!(" [\n  {a} ,\n  {b}\n]\n\n"),
            format!("{a}\n{b}\n"),
            format!("{a}{b}"),
            format!("{{\n  \"text\": \"a] }}, \\\" \\\\\"\n}}\n{b}"),
        ] {
            assert_eq!(read(&file), expected, "{file}");
        }
        for empty in ["", " \n", "[]", "[ ]\n"] {
            assert_eq!(read(empty), Ok(vec![]), "{empty}");
        }
    }

    #[test]
    fn other_values_are_bad_rows() {
        let bad = |reason: &str| Row::Bad(reason.into());
        let rows = read("[5, \"a\", [1], {\"text\": \"b\"}, NaN]").unwrap();
        let no_object = || bad("no JSON object");
        let expected = [no_object(), no_object(), no_object(), Row::Text("b".into()), no_object()];
        assert_eq!(rows, expected);
        assert_eq!(read("5 {\"text\": \"b\"}").unwrap(), [no_object(), Row::Text("b".into())]);
        let unended = bad("no valid JSON: EOF while parsing a string at byte 12");
        assert_eq!(read("{\"text\": \"b}").unwrap(), [unended]);
    }

    #[test]
    fn arrays_that_are_none_are_errors() {
        let b = r#"{"text": "b"}"#;
        for (file, expected) in [
            (format!("[{b}"), "record 2: the file ends within the array"),
            ("[".into(), "record 1: the file ends within the array"),
            (format!("[{b} {b}]"), "record 2: no comma before it"),
            (format!("[{b},]"), "record 2: no value between two commas"),
            (format!("[,{b}]"), "record 1: no value between two commas"),
            (format!("[{b}] {b}"), "record 2: something follows the array"),
            (format!("[\"{}\"]", "x".repeat(100)), "record 1: longer than 0 MiB"),
        ] {
            let error = read(&file).unwrap_err();
            assert!(error.starts_with(&format!("a.json, {expected}")), "{error}");
        }
    }
}
