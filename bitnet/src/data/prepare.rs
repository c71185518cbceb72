use std::path::Path;

use rayon::prelude::*;
use sha2::Digest;

use super::{
    Corpus, DataError,
    chunks::{Chunk, End},
    token_file::{TokenFile, TokenWriter},
};
use crate::{
    progress::Progress,
    storage,
    tokenizer::{Tokenizer, TokenizerError},
};

/// Bytes of text that are encoded at the same time.
const BYTES_PER_GROUP: usize = 16 << 20;
/// Part of every key: a change of how texts become tokens needs another number.
const KEY_VERSION: &str = "tokens 1";

impl Corpus {
    /// The text as tokens, from a file in the folder `tokens` of `cache` that is named after a
    /// hash of text and tokenizer. A file that is not there, or not whole, is made: in parallel,
    /// and with some dozens of megabytes of memory however long the text is.
    ///
    /// After each document comes [`end_of_text`](Tokenizer::end_of_text). Where there is no such
    /// token, the documents of JSONL and Parquet files end with a line break, and those that are
    /// files follow one another as they are.
    ///
    /// # Errors
    /// [`DataError`], if the sources cannot be read or are empty, or the file cannot be written.
    pub fn tokens(
        &self,
        tokenizer: &dyn Tokenizer,
        cache: &Path,
        progress: &dyn Progress,
    ) -> Result<TokenFile, DataError> {
        let folder = cache.join("tokens");
        progress.start("reading", self.stored_bytes());
        let hash = self.hash(progress);
        progress.finish();
        let hash = hash?.chain_update(tokenizer.to_json()).chain_update(KEY_VERSION).finalize();
        let name: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = folder.join(name + ".tokens");
        let vocabulary = tokenizer.vocab_size();
        if let Ok(file) = TokenFile::open(&path, vocabulary) {
            return Ok(file);
        }
        let unwritable = |error| DataError::Cache { path: folder.clone(), error };
        let waiting = || progress.say("waiting for another process that prepares tokens");
        let _lock = storage::lock_folder(&folder, waiting).map_err(unwritable)?;
        match TokenFile::open(&path, vocabulary) {
            Ok(file) => return Ok(file),
            Err(damage) if damage.is_missing() => {}
            Err(damage) => match damage.refusal() {
                Ok(damage) => progress.say(&format!("{} {damage}: made again", path.display())),
                Err(error) => return Err(DataError::Cache { path, error }),
            },
        }
        progress.start("tokenizing", self.stored_bytes());
        let written = self.write(tokenizer, &path, progress);
        progress.finish();
        written?;
        TokenFile::open(&path, vocabulary).map_err(|damage| {
            let error = std::io::Error::other(format!("what was written {damage}"));
            DataError::Cache { path, error }
        })
    }

    fn write(
        &self,
        tokenizer: &dyn Tokenizer,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<(), DataError> {
        let fill = |writer: &mut TokenWriter| {
            let mut group = Vec::new();
            let mut bytes = 0;
            for chunk in self.chunks(progress) {
                let chunk = chunk.map_err(Failure::Reading)?;
                bytes += chunk.text.len();
                group.push(chunk);
                if bytes >= BYTES_PER_GROUP {
                    encode(tokenizer, &group, writer)?;
                    group.clear();
                    bytes = 0;
                }
            }
            encode(tokenizer, &group, writer)?;
            match writer.count() {
                0 => Err(Failure::Reading(DataError::Empty(self.names().into()))),
                _ => Ok(()),
            }
        };
        TokenFile::write(path, tokenizer.vocab_size(), fill).map_err(|failure| match failure {
            Failure::Reading(error) => error,
            Failure::Writing(error) => DataError::Cache { path: path.into(), error },
        })
    }
}

/// Of the two kinds of errors, those of writing name the file.
enum Failure {
    Reading(DataError),
    Writing(std::io::Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Writing(error)
    }
}

fn encode(
    tokenizer: &dyn Tokenizer,
    chunks: &[Chunk],
    writer: &mut TokenWriter,
) -> Result<(), Failure> {
    let encode = |chunk: &Chunk| -> Result<_, TokenizerError> {
        let mut tokens = tokenizer.encode(&chunk.text)?;
        let mut bytes = chunk.text.len();
        match (chunk.end, tokenizer.end_of_text()) {
            (End::File | End::Record, Some(token)) => tokens.push(token),
            (End::Record, None) => {
                tokens.extend(tokenizer.encode(b"\n")?);
                bytes += 1;
            }
            (End::File, None) | (End::Within, _) => {}
        }
        Ok((tokens, bytes))
    };
    let encoded: Result<Vec<_>, _> = chunks.par_iter().map(encode).collect();
    let encoded = encoded.map_err(|error| Failure::Reading(error.into()))?;
    let write = |(tokens, bytes): &(Vec<u32>, usize)| writer.push(tokens, *bytes);
    Ok(encoded.iter().try_for_each(write)?)
}
