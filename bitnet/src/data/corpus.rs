use std::{
    fs,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use zstd::stream::read::Decoder as ZstdDecoder;

use super::{
    DataError, DataOptions,
    chunks::{Chunk, Chunks, End},
    dataset,
    jsonl::JsonLines,
    parquet::ParquetRows,
};
use crate::progress::Progress;

/// Sources, read one after the other.
#[derive(Debug, Clone)]
pub struct Corpus {
    parts: Vec<Part>,
    text_field: String,
    first_bytes: u64,
    /// The sources as they were named.
    names: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// The embedded King James Bible.
    Kjv,
    File(PathBuf),
}

/// What a file's name says about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    JsonLines,
    Parquet,
}

impl Corpus {
    /// Finds what `sources` name: `kjv` (the embedded King James Bible), the datasets `enwik8` and
    /// `tinyshakespeare` (fetched where they are not yet), files, patterns of files such as
    /// `data/*.jsonl`, and folders (every file below them, in the order of their paths; hidden
    /// ones are left out).
    ///
    /// Files that end in `.gz` and `.zst` are decompressed; `.jsonl` and `.parquet` hold many
    /// documents, any other file is one. A file named `kjv` is reached as `./kjv`.
    ///
    /// # Errors
    /// [`DataError`], if a source is not there or cannot be fetched.
    pub fn open<S: AsRef<str>>(
        sources: &[S],
        options: &DataOptions,
        progress: &dyn Progress,
    ) -> Result<Self, DataError> {
        if sources.is_empty() {
            return Err(DataError::NoSource);
        }
        let mut parts = Vec::new();
        for source in sources.iter().map(AsRef::as_ref) {
            if source == "kjv" {
                kjv()?;
                parts.push(Part::Kjv);
            } else if let Some(dataset) = dataset::find(source) {
                parts.push(Part::File(dataset.fetch(options, progress)?));
            } else if source.contains(['*', '?', '[']) && !Path::new(source).exists() {
                add_pattern(source, &mut parts)?;
            } else {
                add_path(Path::new(source), &mut parts)?;
            }
        }
        let names: Vec<&str> = sources.iter().map(AsRef::as_ref).collect();
        let (text_field, names) = (options.text_field.clone(), names.join(", "));
        Ok(Self { parts, text_field, first_bytes: options.first_bytes.unwrap_or(u64::MAX), names })
    }

    /// The sources as they were named.
    pub fn names(&self) -> &str {
        &self.names
    }

    /// Bytes of all files, as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        let size = |part: &Part| match part {
            Part::Kjv => kjv().map_or(0, |bytes| bytes.len() as u64),
            Part::File(path) => fs::metadata(path).map_or(0, |metadata| metadata.len()),
        };
        self.parts.iter().map(size).sum()
    }

    /// The text, chunk by chunk. `progress` advances by [`stored_bytes`](Self::stored_bytes) in
    /// all, unless the text is cut.
    pub fn chunks<'a>(
        &'a self,
        progress: &'a dyn Progress,
    ) -> impl Iterator<Item = Result<Chunk, DataError>> + Send + 'a {
        let chunks = self.parts.iter().flat_map(move |part| {
            self.chunks_of(part, progress)
                .unwrap_or_else(|error| Box::new(std::iter::once(Err(error))))
        });
        chunks.scan(self.first_bytes, |left, chunk| {
            if *left == 0 {
                return None;
            }
            Some(chunk.map(|mut chunk| {
                if chunk.text.len() as u64 > *left {
                    chunk.text.truncate(*left as usize);
                    chunk.end = End::Within;
                }
                *left -= chunk.text.len() as u64;
                chunk
            }))
        })
    }

    fn chunks_of<'a>(
        &'a self,
        part: &'a Part,
        progress: &'a dyn Progress,
    ) -> Result<ChunkIterator<'a>, DataError> {
        let Part::File(path) = part else {
            let reader = MultiGzDecoder::new(Metered { inner: kjv()?, progress });
            return Ok(plain(reader, Path::new("kjv")));
        };
        let format = Format::of(path);
        if format == Format::Parquet {
            return Ok(Box::new(ParquetRows::open(path, &self.text_field, progress)?));
        }
        let unreadable = |error| DataError::Read { path: path.clone(), error };
        let file = Metered { inner: File::open(path).map_err(unreadable)?, progress };
        let file = BufReader::with_capacity(1 << 16, file);
        let reader: Box<dyn Read + Send + 'a> = match extension(path) {
            Some("gz") => Box::new(MultiGzDecoder::new(file)),
            Some("zst") => Box::new(ZstdDecoder::with_buffer(file).map_err(unreadable)?),
            _ => Box::new(file),
        };
        Ok(match format {
            Format::JsonLines => {
                let reader = BufReader::with_capacity(1 << 16, reader);
                Box::new(JsonLines::new(reader, path, &self.text_field))
            }
            _ => plain(reader, path),
        })
    }

    /// A hash of the files' contents and of how they are read.
    ///
    /// # Errors
    /// [`DataError::Read`].
    pub(super) fn hash(&self, progress: &dyn Progress) -> Result<Sha256, DataError> {
        let parts: Result<Vec<_>, DataError> = self
            .parts
            .par_iter()
            .map(|part| {
                let mut hash = Sha256::new();
                let kind = match part {
                    Part::Kjv => {
                        hash.update(kjv()?);
                        "kjv".into()
                    }
                    Part::File(path) => {
                        let unreadable = |error| DataError::Read { path: path.clone(), error };
                        let file = File::open(path).map_err(unreadable)?;
                        let mut file = Metered { inner: file, progress };
                        io::copy(&mut file, &mut hash).map_err(unreadable)?;
                        let compression = extension(path).filter(|name| is_compression(name));
                        format!("{:?} {compression:?}", Format::of(path))
                    }
                };
                Ok((kind, hash.finalize()))
            })
            .collect();
        let mut hash = Sha256::new();
        for (kind, sum) in parts? {
            hash.update(kind);
            hash.update(sum);
        }
        hash.update(self.first_bytes.to_le_bytes());
        hash.update(&self.text_field);
        Ok(hash)
    }
}

type ChunkIterator<'a> = Box<dyn Iterator<Item = Result<Chunk, DataError>> + Send + 'a>;

fn plain<'a>(reader: impl Read + Send + 'a, path: &'a Path) -> ChunkIterator<'a> {
    let unreadable = move |error| DataError::Read { path: path.into(), error };
    Box::new(Chunks::new(reader, End::File).map(move |chunk| chunk.map_err(unreadable)))
}

impl Format {
    fn of(path: &Path) -> Self {
        let inner = match extension(path) {
            Some(name) if is_compression(name) => path.file_stem().map(Path::new).unwrap_or(path),
            _ => path,
        };
        match (extension(inner), extension(path)) {
            (Some("jsonl" | "ndjson"), _) => Self::JsonLines,
            (_, Some("parquet")) => Self::Parquet,
            _ => Self::Text,
        }
    }
}

fn extension(path: &Path) -> Option<&str> {
    path.extension().and_then(|extension| extension.to_str())
}

fn is_compression(extension: &str) -> bool {
    matches!(extension, "gz" | "zst")
}

#[cfg(feature = "kjv")]
fn kjv() -> Result<&'static [u8], DataError> {
    Ok(include_bytes!("../../../data/kjv.txt.gz"))
}

#[cfg(not(feature = "kjv"))]
fn kjv() -> Result<&'static [u8], DataError> {
    Err(DataError::NotCompiledIn("kjv"))
}

fn add_pattern(pattern: &str, parts: &mut Vec<Part>) -> Result<(), DataError> {
    let error = |reason: String| DataError::Pattern { pattern: pattern.into(), reason };
    let paths = glob::glob(pattern).map_err(|e| error(e.to_string()))?;
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(|e| error(e.to_string()))?;
    if paths.is_empty() {
        return Err(error("no file matches".into()));
    }
    paths.sort();
    paths.iter().try_for_each(|path| add_path(path, parts))
}

fn add_path(path: &Path, parts: &mut Vec<Part>) -> Result<(), DataError> {
    let failed = |error| DataError::Read { path: path.into(), error };
    if fs::metadata(path).map_err(failed)?.is_dir() {
        let mut entries = fs::read_dir(path)
            .and_then(|entries| {
                entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>()
            })
            .map_err(failed)?;
        entries.retain(|entry| !is_hidden(entry));
        entries.sort();
        return entries.iter().try_for_each(|entry| add_path(entry, parts));
    }
    parts.push(Part::File(path.into()));
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Tells how much was read.
struct Metered<'a, R> {
    inner: R,
    progress: &'a dyn Progress,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.advance(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;

    #[derive(Default)]
    struct Meter(AtomicU64);

    impl Progress for Meter {
        fn start(&self, _what: &str, _bytes: u64) {}

        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }

        fn finish(&self) {}

        fn say(&self, _line: &str) {}
    }

    /// The documents of the sources, and how they end.
    fn read(sources: &[String]) -> Result<Vec<(Vec<u8>, End)>, DataError> {
        let meter = Meter::default();
        let corpus = Corpus::open(sources, &DataOptions::default(), &meter)?;
        let mut documents = vec![(Vec::new(), End::Within)];
        for chunk in corpus.chunks(&meter) {
            let chunk = chunk?;
            if documents.last().is_some_and(|(_, end)| *end != End::Within) {
                documents.push((Vec::new(), End::Within));
            }
            if let Some((text, end)) = documents.last_mut() {
                text.extend(chunk.text);
                *end = chunk.end;
            }
        }
        assert_eq!(meter.0.into_inner(), corpus.stored_bytes());
        Ok(documents)
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    }

    #[test]
    fn reads_folders_in_order_patterns_and_every_format() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir(path("b")).unwrap();
        fs::write(path("a.txt"), "1").unwrap();
        fs::write(path(".hidden"), "x").unwrap();
        fs::write(path("b/x.gz"), gz(b"2")).unwrap();
        fs::write(path("b/y.zst"), zstd::encode_all(&b"3"[..], 0).unwrap()).unwrap();
        let lines = b"{\"text\": \"4\"}\n{\"text\": \"5\"}\n";
        fs::write(path("c.jsonl"), lines).unwrap();
        fs::write(path("d.jsonl.gz"), gz(lines)).unwrap();
        fs::write(path("e.jsonl.zst"), zstd::encode_all(&lines[..], 0).unwrap()).unwrap();
        let expect = |documents: &[(&str, End)]| -> Vec<(Vec<u8>, End)> {
            documents.iter().map(|&(text, end)| (text.into(), end)).collect()
        };
        use End::{File, Record};
        let files = [("1", File), ("2", File), ("3", File)];
        let records = [("4", Record), ("5", Record)];
        let all = [&files[..], &records, &records, &records].concat();
        assert_eq!(read(&[path("")]).unwrap(), expect(&all));
        let some = [&records[..], &records, &files[..1]].concat();
        assert_eq!(read(&[path("[cd].jsonl*"), path("a.txt")]).unwrap(), expect(&some));
    }

    #[test]
    fn damaged_and_missing_sources_are_errors() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("bad.gz"), "no gzip").unwrap();
        fs::write(path("bad.zst"), "no zstd").unwrap();
        let whole = gz(&[7; 5000]);
        fs::write(path("cut.gz"), &whole[..whole.len() - 3]).unwrap();
        for name in ["missing", "bad.gz", "bad.zst", "cut.gz"] {
            assert!(matches!(read(&[path(name)]), Err(DataError::Read { .. })), "{name}");
        }
        for pattern in ["*.txt", "[a"] {
            assert!(matches!(read(&[path(pattern)]), Err(DataError::Pattern { .. })), "{pattern}");
        }
        assert!(matches!(read(&[]), Err(DataError::NoSource)));
    }

    #[cfg(feature = "kjv")]
    #[test]
    fn the_embedded_bible_is_whole() {
        let documents = read(&["kjv".into()]).unwrap();
        let [(text, End::File)] = &documents[..] else { panic!("one document") };
        assert_eq!(text.len(), 4_621_135);
        let sum: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        // As data/README.md has it.
        assert_eq!(sum, "4cff6dc9bcb71b6fa707730ba6e555fa1498cd9457ae54cb6fdf7d9524fc433e");
    }
}
