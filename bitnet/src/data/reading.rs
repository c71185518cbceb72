use std::{
    io::{self, BufReader, Read},
    path::Path,
    slice,
    sync::Arc,
};

use super::{
    DataError, DataOptions,
    chunks::{Chunk, Chunks, End},
    json::JsonValues,
    jsonl::JsonLines,
    kind::{Content, Kind},
    parquet::ParquetRows,
    part::{Part, kjv},
    records::Documents,
    tally::{Tally, Validity},
    utf16,
};
use crate::progress::Progress;

/// The parts of a corpus, read one after the other.
pub(super) struct Reading<'a> {
    parts: slice::Iter<'a, Part>,
    current: Option<Texts<'a>>,
    options: &'a DataOptions,
    progress: &'a dyn Progress,
    /// What is passed over is told at the end.
    tally: Option<Arc<Tally>>,
    /// Bytes still to be given.
    left: u64,
}

type Texts<'a> = Box<dyn Iterator<Item = Result<Chunk, DataError>> + Send + 'a>;

impl<'a> Reading<'a> {
    pub(super) fn new(
        parts: &'a [Part],
        options: &'a DataOptions,
        progress: &'a dyn Progress,
    ) -> Self {
        let tally = Some(Arc::new(Tally::new(options.skip_bad)));
        let left = options.first_bytes.unwrap_or(u64::MAX);
        Self { parts: parts.iter(), current: None, options, progress, tally, left }
    }

    fn open(&self, part: &'a Part, tally: &Arc<Tally>) -> Result<Texts<'a>, DataError> {
        let (options, progress, tally) = (self.options, self.progress, tally.clone());
        let (path, kind, file): (_, _, Box<dyn Read + Send>) = match part {
            Part::Kjv => {
                let path = Path::new("kjv");
                (path, Kind::named("kjv.gz".as_ref()), Box::new(kjv()?))
            }
            Part::File(path, Kind { content: Content::Parquet, .. }) => {
                let rows = ParquetRows::open(path, &options.text_field, options.piece(), progress)?;
                return Ok(Box::new(Documents::new(rows, path.clone(), tally)));
            }
            Part::File(path, kind) => (path.as_path(), *kind, Box::new(super::open(path)?)),
        };
        let unreadable = |error| DataError::Read { path: path.into(), error };
        let file = Metered { inner: file, progress };
        let reader = kind.compression.open(file, options.piece()).map_err(unreadable)?;
        let reader = utf16::decoded(kind.mark, reader).map_err(unreadable)?;
        let (field, piece) = (&options.text_field, options.piece());
        let buffered = |reader| BufReader::with_capacity(1 << 16, reader);
        Ok(match kind.content {
            Content::JsonLines => {
                let rows = JsonLines::new(buffered(reader), path, field, piece);
                Box::new(Documents::new(rows, path.into(), tally))
            }
            Content::Json => {
                let rows = JsonValues::new(buffered(reader), path, field, piece);
                Box::new(Documents::new(rows, path.into(), tally))
            }
            Content::Text | Content::Parquet => Box::new(Text {
                validity: (!kind.binary).then(|| Validity::new(path, tally)),
                chunks: Chunks::new(reader, End::File),
                path,
            }),
        })
    }
}

impl Iterator for Reading<'_> {
    type Item = Result<Chunk, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            if let Some(chunk) = self.current.as_mut().and_then(Iterator::next) {
                return Some(chunk.map(|mut chunk| {
                    if chunk.text.len() as u64 > self.left {
                        chunk.text.truncate(self.left as usize);
                        chunk.end = End::Within;
                    }
                    self.left -= chunk.text.len() as u64;
                    chunk
                }));
            }
            let (Some(part), Some(tally)) = (self.parts.next(), &self.tally) else { break };
            match self.open(part, tally) {
                Ok(texts) => self.current = Some(texts),
                Err(error) => {
                    self.current = None;
                    return Some(Err(error));
                }
            }
        }
        self.current = None;
        if let Some(line) = self.tally.take().and_then(|tally| tally.line()) {
            self.progress.say(&line);
        }
        None
    }
}

/// A file that is one document.
struct Text<'a, R> {
    chunks: Chunks<R>,
    path: &'a Path,
    validity: Option<Validity>,
}

impl<R: Read> Iterator for Text<'_, R> {
    type Item = Result<Chunk, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.chunks.next();
        if let Some(validity) = &mut self.validity {
            match &chunk {
                Some(Ok(chunk)) => validity.count(&chunk.text),
                Some(Err(_)) => {}
                None => validity.finish(),
            }
        }
        chunk.map(|chunk| chunk.map_err(|error| DataError::Read { path: self.path.into(), error }))
    }
}

/// Tells how much was read.
pub(super) struct Metered<'a, R> {
    pub(super) inner: R,
    pub(super) progress: &'a dyn Progress,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.advance(read as u64);
        Ok(read)
    }
}
