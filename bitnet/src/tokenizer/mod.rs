//! Tokenizers: text to token ids and back, and their file `tokenizer.json`.

pub(crate) mod bos;
mod byte;
mod byte_level;
mod charsmap;
mod file;
mod normalizer;
mod parts;
mod pattern;
mod special;
mod subword;
mod train;
mod utf8;

use std::io;

use thiserror::Error;

pub use byte::ByteTokenizer;
pub use file::{from_json, load};
pub use special::{Piece, SpecialToken, split_at_special};
pub use subword::SubwordTokenizer;
pub use train::{END_OF_TEXT, train_bpe};
pub use utf8::Utf8Decoder;

/// A mapping between bytes and token ids `0 .. vocab_size`.
pub trait Tokenizer: Send + Sync {
    /// Number of token ids.
    fn vocab_size(&self) -> usize;

    /// The token ids of `bytes`.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if the tokenizer's file makes something of the text that cannot
    /// be used. The tokenizers of this library have no such errors.
    fn encode(&self, bytes: &[u8]) -> Result<Vec<u32>, TokenizerError>;

    /// The bytes of `tokens`, which are those of each token, one after the other. Special tokens
    /// and ids outside the vocabulary have none.
    fn decode(&self, tokens: &[u32]) -> Vec<u8>;

    /// The token that ends a document, if there is one. No text is encoded to it.
    fn end_of_text(&self) -> Option<u32>;

    /// The tokens that its file says are put before a text; [`encode`](Self::encode) does not.
    fn bos_tokens(&self) -> &[u32] {
        &[]
    }

    /// The tokens that stand for no text. No text is encoded to them, but to that for characters
    /// which the tokenizer does not know.
    fn special_tokens(&self) -> &[SpecialToken] {
        &[]
    }

    /// The content of `tokenizer.json`, in the format of the Hugging Face `tokenizers` library.
    fn to_json(&self) -> String;
}

/// A tokenizer that cannot be read or trained.
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
    #[error("{0}")]
    Unsupported(String),
    /// A text cannot be encoded.
    #[error("{0}")]
    Encode(String),
    /// A tokenizer of so many tokens cannot be trained.
    #[error("the vocabulary is {actual}, must be between {min} and {max}")]
    Vocabulary {
        /// What was asked for.
        actual: usize,
        /// All bytes and the end of a text.
        min: usize,
        /// The largest.
        max: usize,
    },
    /// The training failed.
    #[error("the tokenizer cannot be trained: {0}")]
    Training(String),
}
