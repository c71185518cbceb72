use std::{
    io::{self, BufRead, Cursor, Read},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    DataError,
    chunks::{Chunk, Chunks, End},
};

/// Longest line, in bytes.
const MAX_LINE: u64 = 1 << 28;

/// The documents of a JSONL file: an object a line, with the text in one of its fields. Empty
/// lines and empty texts are passed over.
pub(super) struct JsonLines<R> {
    reader: R,
    path: PathBuf,
    field: String,
    line: u64,
    document: Option<Chunks<Cursor<Vec<u8>>>>,
    done: bool,
}

impl<R: BufRead> JsonLines<R> {
    pub(super) fn new(reader: R, path: &Path, field: &str) -> Self {
        let (path, field) = (path.into(), field.into());
        Self { reader, path, field, line: 0, document: None, done: false }
    }

    /// The text of the next line; `None` at the end.
    fn document(&mut self) -> Result<Option<Vec<u8>>, DataError> {
        loop {
            let mut line = Vec::new();
            let read = self.reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line);
            read.map_err(|error| DataError::Read { path: self.path.clone(), error })?;
            if line.is_empty() {
                return Ok(None);
            }
            self.line += 1;
            if line.len() as u64 > MAX_LINE {
                return Err(self.error(format!("longer than {} MiB", MAX_LINE >> 20)));
            }
            if !line.trim_ascii().is_empty() {
                return text(&line, &self.field).map(Some).map_err(|reason| self.error(reason));
            }
        }
    }

    fn error(&self, reason: String) -> DataError {
        DataError::Line { path: self.path.clone(), line: self.line, reason }
    }
}

/// The text in one line, or what is wrong with it.
fn text(line: &[u8], field: &str) -> Result<Vec<u8>, String> {
    if let Err(error) = std::str::from_utf8(line) {
        return Err(format!("invalid UTF-8 at byte {}", error.valid_up_to() + 1));
    }
    let value: Value = serde_json::from_slice(line).map_err(|error| {
        // The position within its input names a line, too, which is always the first.
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default();
        format!("no valid JSON: {reason} at byte {}", error.column())
    })?;
    let Value::Object(mut object) = value else { return Err("no JSON object".into()) };
    match object.remove(field) {
        Some(Value::String(text)) => Ok(text.into_bytes()),
        Some(_) => Err(format!("field \"{field}\" is no string")),
        None => {
            let names: Vec<_> = object.keys().take(8).map(String::as_str).collect();
            Err(format!("no field \"{field}\" (data.text_field); there is {}", names.join(", ")))
        }
    }
}

impl<R: BufRead> Iterator for JsonLines<R> {
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
            match self.document() {
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
    use crate::data::chunks::CHUNK;

    fn read(text: &[u8]) -> Vec<Result<Chunk, String>> {
        let lines = JsonLines::new(text, "a.jsonl".as_ref(), "text");
        lines.map(|chunk| chunk.map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn a_document_a_line() {
        let record = |text: &str| Ok(Chunk { text: text.into(), end: End::Record });
        let lines = b"{\"text\": \"a\\nb\"}\r\n\n  \n{\"n\": 1, \"text\": \"\xc3\xb1\"}";
        assert_eq!(read(lines), [record("a\nb"), record("ñ")]);
        let long = format!("{{\"text\": \"{}\"}}\n", "x".repeat(CHUNK + 5));
        let lens: Vec<_> =
            read(long.as_bytes()).into_iter().map(|chunk| chunk.unwrap().text.len()).collect();
        assert_eq!(lens, [CHUNK, 5]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (bad, expected) in [
            (&b"{\"text\": "[..], "no valid JSON: EOF while parsing a value at byte 9"),
            (b"[]", "no JSON object"),
            (b"{\"text\": 5}", "field \"text\" is no string"),
            (
                b"{\"body\": \"\", \"id\": 1}",
                "no field \"text\" (data.text_field); there is body, id",
            ),
            (b"{\"text\": \"\xff\"}", "invalid UTF-8 at byte 11"),
        ] {
            let file = [b"{\"text\": \"a\"}\n\n", bad].concat();
            let found = read(&file);
            assert_eq!(found.len(), 2);
            assert_eq!(found[1], Err(format!("a.jsonl, line 3: {expected}")));
        }
    }
}
