use std::{fs, io, path::Path};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{
    DataError, DataOptions,
    chunks::Chunk,
    dataset,
    kind::Kind,
    part::{Part, kjv},
    reading::{Metered, Reading},
    source::is_pattern,
    walk::Found,
};
use crate::progress::Progress;

/// Sources, read one after the other.
#[derive(Debug, Clone)]
pub struct Corpus {
    parts: Vec<Part>,
    options: DataOptions,
    /// The sources as they were named.
    names: String,
}

impl Corpus {
    /// Finds what `sources` name: `kjv` (the embedded King James Bible), the datasets `enwik8` and
    /// `tinyshakespeare` (fetched where they are not yet), files, patterns of files such as
    /// `data/*.jsonl`, and folders (every file below them, in the order of their paths). What a
    /// folder leaves out is told: hidden files, and those that describe the others.
    ///
    /// Files that end in `.gz` and `.zst` are decompressed; `.jsonl`, `.json` and `.parquet` hold
    /// many documents, any other file is one. What is no text is an error, unless
    /// [`binary`](DataOptions::binary) says otherwise. A file named `kjv` is reached as `./kjv`.
    ///
    /// # Errors
    /// [`DataError`], if a source is not there, cannot be fetched, or is no text.
    pub fn open<S: AsRef<str>>(
        sources: &[S],
        options: &DataOptions,
        progress: &dyn Progress,
    ) -> Result<Self, DataError> {
        // An empty name would be the working directory.
        if sources.is_empty() || sources.iter().any(|source| source.as_ref().is_empty()) {
            return Err(DataError::NoSource);
        }
        let mut parts = Vec::new();
        for source in sources.iter().map(AsRef::as_ref) {
            if source == "kjv" {
                kjv()?;
                parts.push(Part::Kjv);
                continue;
            }
            let found = if let Some(dataset) = dataset::find(source) {
                Found::at(&dataset.fetch(options, progress)?)?
            } else if is_pattern(source) {
                Found::matching(source)?
            } else {
                Found::at(Path::new(source)).map_err(|error| dataset::named(source, error))?
            };
            if let Some(line) = found.line(source) {
                progress.say(&line);
            }
            for path in found.files {
                let kind = Kind::of(&path, options)?;
                parts.push(Part::File(path, kind));
            }
        }
        let names: Vec<&str> = sources.iter().map(AsRef::as_ref).collect();
        Ok(Self { parts, options: options.clone(), names: names.join(", ") })
    }

    /// The sources as they were named.
    pub fn names(&self) -> &str {
        &self.names
    }

    /// The files that are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().filter_map(|part| match part {
            Part::Kjv => None,
            Part::File(path, _) => Some(path.as_path()),
        })
    }

    /// Bytes of all files, as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        let size = |part: &Part| match part {
            Part::Kjv => kjv().map_or(0, |bytes| bytes.len() as u64),
            Part::File(path, _) => fs::metadata(path).map_or(0, |metadata| metadata.len()),
        };
        self.parts.iter().map(size).sum()
    }

    /// The text, chunk by chunk. `progress` advances by [`stored_bytes`](Self::stored_bytes) in
    /// all, unless the text is cut, and is told at the end what was passed over.
    pub fn chunks<'a>(
        &'a self,
        progress: &'a dyn Progress,
    ) -> impl Iterator<Item = Result<Chunk, DataError>> + Send + 'a {
        Reading::new(&self.parts, &self.options, progress)
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
                    Part::File(path, kind) => {
                        let unreadable = |error| DataError::Read { path: path.clone(), error };
                        let mut file = Metered { inner: super::open(path)?, progress };
                        io::copy(&mut file, &mut hash).map_err(unreadable)?;
                        kind.name()
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
        hash.update(self.options.first_bytes.unwrap_or(u64::MAX).to_le_bytes());
        hash.update(&self.options.text_field);
        if self.options.skip_bad > 0 {
            hash.update(format!("without {} bad rows", self.options.skip_bad));
        }
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::data::{End, compression::gz};

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
    fn no_source_is_no_folder() {
        for sources in [&[][..], &[""], &["kjv", ""]] {
            let opened = Corpus::open(sources, &DataOptions::default(), &Meter::default());
            assert!(matches!(opened, Err(DataError::NoSource)), "{sources:?}");
        }
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
