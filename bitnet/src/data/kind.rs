use std::{io::Read, path::Path};

use super::{
    DataError, DataOptions,
    magic::{self, Mark},
    packing::Packing,
};

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) packing: Packing,
    pub(super) content: Content,
    pub(super) mark: Mark,
    /// Whether its bytes are taken whatever they are.
    pub(super) binary: bool,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// One document.
    Text,
    /// A document a line.
    JsonLines,
    /// An array of documents, or documents one after the other.
    Json,
    /// A document a row.
    Parquet,
}

impl Kind {
    /// What the name says, by its endings in capital or small letters.
    pub(super) fn named(path: &Path) -> Self {
        let ending = |path: &Path| {
            path.extension().and_then(|name| name.to_str()).map(str::to_ascii_lowercase)
        };
        let packing = match ending(path).as_deref() {
            Some("gz" | "gzip") => Packing::Gzip,
            Some("zst" | "zstd") => Packing::Zstd,
            _ => Packing::None,
        };
        let inner = match packing {
            Packing::None => path,
            _ => path.file_stem().map_or(path, Path::new),
        };
        let content = match (ending(inner).as_deref(), packing) {
            (Some("jsonl" | "ndjson"), _) => Content::JsonLines,
            (Some("json"), _) => Content::Json,
            (Some("parquet"), Packing::None) => Content::Parquet,
            _ => Content::Text,
        };
        Self { packing, content, mark: Mark::None, binary: false }
    }

    /// What the name and the first bytes say.
    ///
    /// # Errors
    /// [`DataError::Read`], and [`DataError::NotText`] if the bytes are no text.
    pub(super) fn of(path: &Path, options: &DataOptions) -> Result<Self, DataError> {
        let unreadable = |error| DataError::Read { path: path.into(), error };
        let mut kind = Self::named(path);
        kind.binary = options.binary && kind.content == Content::Text;
        let file = super::open(path)?;
        if kind.content == Content::Parquet || kind.binary {
            return Ok(kind);
        }
        let mut head = Vec::new();
        let reader = kind.packing.open(file, options.piece()).map_err(unreadable)?;
        reader.take(magic::HEAD_BYTES as u64).read_to_end(&mut head).map_err(unreadable)?;
        kind.mark = Mark::of(&head);
        let is_utf16 = matches!(kind.mark, Mark::Utf16Le | Mark::Utf16Be);
        let foreign = if is_utf16 { None } else { magic::foreign(&head) };
        let Some((what, mut advice)) = foreign else { return Ok(kind) };
        if kind.content == Content::Text {
            advice += "; data.binary = true takes its bytes as they are";
        }
        Err(DataError::NotText { path: path.into(), what, advice })
    }

    /// Names the way that a file is read, as part of the name of its tokens.
    pub(super) fn name(&self) -> String {
        let packing = match self.packing {
            Packing::None => None,
            Packing::Gzip => Some("gz"),
            Packing::Zstd => Some("zst"),
        };
        match self.mark {
            Mark::None => format!("{:?} {packing:?}", self.content),
            mark => format!("{:?} {packing:?} {mark:?}", self.content),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_hand() {
        // What tokens are named after must not change.
        for (name, expected) in [
            ("a", "Text None"),
            ("a.txt", "Text None"),
            ("a.GZ", "Text Some(\"gz\")"),
            ("a.zstd", "Text Some(\"zst\")"),
            ("a.jsonl", "JsonLines None"),
            ("A.JSONL.Gz", "JsonLines Some(\"gz\")"),
            ("a.ndjson.zst", "JsonLines Some(\"zst\")"),
            ("a.json", "Json None"),
            ("a.Json.gz", "Json Some(\"gz\")"),
            ("a.PARQUET", "Parquet None"),
            ("a.parquet.gz", "Text Some(\"gz\")"),
            ("parquet", "Text None"),
        ] {
            assert_eq!(Kind::named(name.as_ref()).name(), expected, "{name}");
        }
    }
}
