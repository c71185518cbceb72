use std::path::Path;

use super::{
    DataError, DataOptions,
    compression::Compression,
    magic::{self, Foreign, Mark},
};

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) compression: Compression,
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
        let compression = match ending(path).as_deref() {
            Some("gz" | "gzip") => Compression::Gzip,
            Some("zst" | "zstd") => Compression::Zstd,
            _ => Compression::None,
        };
        let inner = match compression {
            Compression::None => path,
            _ => path.file_stem().map_or(path, Path::new),
        };
        let content = match (ending(inner).as_deref(), compression) {
            (Some("jsonl" | "ndjson"), _) => Content::JsonLines,
            (Some("json"), _) => Content::Json,
            (Some("parquet"), Compression::None) => Content::Parquet,
            _ => Content::Text,
        };
        Self { compression, content, mark: Mark::None, binary: false }
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
        let head = kind.compression.head(file, options.piece()).map_err(unreadable)?;
        kind.mark = Mark::of(&head);
        let is_utf16 = matches!(kind.mark, Mark::Utf16Le | Mark::Utf16Be);
        let foreign = if is_utf16 { None } else { magic::foreign(&head) };
        let Some(foreign) = foreign else { return Ok(kind) };
        let Foreign { what, mut advice, .. } = match (kind.compression, foreign.compression) {
            (_, Compression::None) => foreign,
            // Another name helps only where a text is in it, which is not so of a .tgz.
            (Compression::None, compression) => match inner(path, compression, options) {
                None => foreign,
                Some(inner) if inner.compression == Compression::None => {
                    Foreign { what: format!("{}, compressed", inner.what), ..inner }
                }
                Some(inner) => compressed_again(inner),
            },
            _ => compressed_again(foreign),
        };
        if kind.content == Content::Text {
            advice += "; data.binary = true takes its bytes as they are";
        }
        Err(DataError::NotText { path: path.into(), what, advice })
    }

    /// Names the way that a file is read, as part of the name of its tokens.
    pub(super) fn name(&self) -> String {
        let compression = match self.compression {
            Compression::None => None,
            Compression::Gzip => Some("gz"),
            Compression::Zstd => Some("zst"),
        };
        match self.mark {
            Mark::None => format!("{:?} {compression:?}", self.content),
            mark => format!("{:?} {compression:?} {mark:?}", self.content),
        }
    }
}

/// What is in a file that is compressed, if it is no text.
fn inner(path: &Path, compression: Compression, options: &DataOptions) -> Option<Foreign> {
    magic::foreign(&compression.head(super::open(path).ok()?, options.piece()).ok()?)
}

/// What is compressed in a file that is so itself.
fn compressed_again(inner: Foreign) -> Foreign {
    let what = format!("{}, and then once more", inner.what);
    Foreign { what, advice: "unpack it once first".into(), compression: Compression::None }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::compression::gz;

    #[test]
    fn archives_and_double_compression_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let told = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            let error = Kind::of(&path, &DataOptions::default()).unwrap_err().to_string();
            let (_, told) = error.split_once(&format!("{name} is ")).unwrap();
            told.strip_suffix("; data.binary = true takes its bytes as they are")
                .unwrap()
                .to_owned()
        };
        let mut tar = vec![b'a'; 1024];
        tar[257..262].copy_from_slice(b"ustar");
        let archive = "a tar archive, compressed: unpack it first";
        for name in ["a.tgz", "a", "a.txt"] {
            assert_eq!(told(name, &gz(&tar)), archive);
        }
        assert_eq!(told("a.tzst", &zstd::encode_all(&tar[..], 0).unwrap()), archive);
        for name in ["a.tar.gz", "a.gz"] {
            assert_eq!(told(name, &gz(&tar)), "a tar archive: unpack it first");
        }
        let twice = "compressed with gzip, and then once more: unpack it once first";
        assert_eq!(told("a.gz.gz", &gz(&gz(b"text"))), twice);
        assert_eq!(told("a.txt.gz", &gz(&gz(b"text"))), twice);
        assert_eq!(told("a.zst", &zstd::encode_all(&gz(b"text")[..], 0).unwrap()), twice);
        let named = "compressed with gzip: it is read if its name ends in .gz";
        assert_eq!(told("a.bin", &gz(b"text")), named);
        assert_eq!(told("a.bin", &gz(b"text")[..12]), named);
        assert_eq!(told("a.tgz", &gz(&gz(b"text"))), twice);
    }

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
