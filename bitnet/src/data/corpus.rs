use std::{
    fs::{self, File},
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use thiserror::Error;

/// Largest corpus that is held in memory, in bytes.
const MAX_BYTES: u64 = 8 << 30;

/// A source of data that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// No source was named.
    #[error("no data source is given")]
    NoSource,
    /// A file or folder cannot be read, or a compressed file is damaged.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// All sources together hold no byte.
    #[error("the data is empty: {0}")]
    Empty(String),
    /// The sources hold more than fits into memory.
    #[error("the data holds more than {} GiB", MAX_BYTES >> 30)]
    TooLarge,
    /// The dataset of that name was not compiled in.
    #[error("dataset \"{0}\" is not compiled in; rebuild with --features {0}")]
    NotCompiledIn(&'static str),
    /// A part of the data is too short for even one window.
    #[error("the {part} data has {actual} tokens, one window needs {needed}")]
    TooShort {
        /// "training" or "validation".
        part: &'static str,
        /// Tokens there.
        actual: usize,
        /// Tokens of a window: the sequence and one to predict.
        needed: usize,
    },
}

/// Reads sources one after the other: `kjv` (the embedded King James Bible), files, and folders
/// (every file below them, in the order of their paths; hidden ones are left out). Files that end
/// in `.gz` are decompressed.
///
/// A file named `kjv` is reached as `./kjv`.
///
/// # Errors
/// [`DataError`], if a source cannot be read or all of them are empty.
pub fn load<S: AsRef<str>>(sources: &[S]) -> Result<Vec<u8>, DataError> {
    if sources.is_empty() {
        return Err(DataError::NoSource);
    }
    let mut data = Vec::new();
    for source in sources {
        match source.as_ref() {
            "kjv" => kjv(&mut data)?,
            path => read_path(Path::new(path), &mut data)?,
        }
    }
    if data.is_empty() {
        let names: Vec<&str> = sources.iter().map(AsRef::as_ref).collect();
        return Err(DataError::Empty(names.join(", ")));
    }
    Ok(data)
}

/// Splits `len` tokens by position into training part and validation part, the last `fraction`.
pub fn split(len: usize, fraction: f64) -> (Range<usize>, Range<usize>) {
    let validation = (len as f64 * fraction.clamp(0.0, 1.0)).round() as usize;
    let boundary = len - validation.min(len);
    (0..boundary, boundary..len)
}

#[cfg(feature = "kjv")]
fn kjv(data: &mut Vec<u8>) -> Result<(), DataError> {
    const KJV: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kjv.txt.gz"));
    append(MultiGzDecoder::new(KJV), Path::new("kjv"), data)
}

#[cfg(not(feature = "kjv"))]
fn kjv(_data: &mut Vec<u8>) -> Result<(), DataError> {
    Err(DataError::NotCompiledIn("kjv"))
}

fn read_path(path: &Path, data: &mut Vec<u8>) -> Result<(), DataError> {
    let failed = |error| DataError::Read { path: path.into(), error };
    if path.is_dir() {
        let mut entries = fs::read_dir(path)
            .and_then(|entries| {
                entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>()
            })
            .map_err(failed)?;
        entries.retain(|entry| !is_hidden(entry));
        entries.sort();
        return entries.iter().try_for_each(|entry| read_path(entry, data));
    }
    let file = File::open(path).map_err(failed)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        append(MultiGzDecoder::new(io::BufReader::new(file)), path, data)
    } else {
        append(file, path, data)
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Appends what `reader` gives, up to the limit: a small compressed file may hold terabytes.
fn append(reader: impl Read, path: &Path, data: &mut Vec<u8>) -> Result<(), DataError> {
    let room = MAX_BYTES.saturating_sub(data.len() as u64);
    let read = reader
        .take(room + 1)
        .read_to_end(data)
        .map_err(|error| DataError::Read { path: path.into(), error })?;
    if read as u64 > room { Err(DataError::TooLarge) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn reads_folders_in_order_and_gz() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("b")).unwrap();
        fs::write(root.path().join("a.txt"), "1").unwrap();
        fs::write(root.path().join("c.txt"), "3").unwrap();
        fs::write(root.path().join(".hidden"), "x").unwrap();
        let gz = File::create(root.path().join("b/x.gz")).unwrap();
        let mut gz = flate2::write::GzEncoder::new(gz, Default::default());
        gz.write_all(b"2").unwrap();
        gz.finish().unwrap();
        assert_eq!(load(&[root.path().to_str().unwrap()]).unwrap(), b"123");
    }

    #[test]
    fn damaged_and_empty_sources_are_errors() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("empty"), "").unwrap();
        fs::write(path("bad.gz"), "no gzip").unwrap();
        assert!(matches!(load(&[path("empty")]), Err(DataError::Empty(_))));
        assert!(matches!(load(&[path("missing")]), Err(DataError::Read { .. })));
        assert!(matches!(load(&[path("bad.gz")]), Err(DataError::Read { .. })));
        assert!(matches!(load::<&str>(&[]), Err(DataError::NoSource)));
    }

    #[cfg(feature = "kjv")]
    #[test]
    fn the_embedded_bible_is_whole() {
        let text = load(&["kjv"]).unwrap();
        assert_eq!(text.len(), 4_621_135);
        // The part after the colon is what the crate's own parser loses.
        let genesis = b"Genesis 1:3 And God said, Let there be light: and there was light.\n";
        assert!(text.windows(genesis.len()).any(|window| window == genesis));
        assert!(text.ends_with(b"Amen.\n"));
    }

    #[test]
    fn splits_by_position() {
        assert_eq!(split(100, 0.1), (0..90, 90..100));
        assert_eq!(split(3, 0.0), (0..3, 3..3));
    }
}
