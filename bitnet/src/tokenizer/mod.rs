//! Tokenizers: text to token ids and back, and their file `tokenizer.json`.

mod byte;
mod utf8;

use std::{fs, io, path::Path};

use thiserror::Error;

pub use byte::ByteTokenizer;
pub use utf8::Utf8Decoder;

/// A mapping between bytes and token ids `0 .. vocab_size`.
pub trait Tokenizer: Send + Sync {
    /// Number of token ids.
    fn vocab_size(&self) -> usize;

    /// The token ids of `bytes`.
    fn encode(&self, bytes: &[u8]) -> Vec<u32>;

    /// The bytes of `tokens`. Ids outside the vocabulary give none.
    fn decode(&self, tokens: &[u32]) -> Vec<u8>;

    /// The content of `tokenizer.json`, in the format of the Hugging Face `tokenizers` library.
    fn to_json(&self) -> String;
}

/// Reads a `tokenizer.json`.
///
/// # Errors
/// [`TokenizerError`] if the file cannot be read, is no JSON, or holds another kind of tokenizer
/// than [`ByteTokenizer`].
pub fn load(path: &Path) -> Result<Box<dyn Tokenizer>, TokenizerError> {
    let json = fs::read_to_string(path)?;
    Ok(Box::new(ByteTokenizer::from_json(&json)?))
}

/// A `tokenizer.json` that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is not valid JSON.
    #[error("not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The tokenizer is of a kind that is not supported.
    #[error("only byte-level tokenizers without merges are supported: {0}")]
    Unsupported(&'static str),
}
