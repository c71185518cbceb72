use std::{io::Read, path::Path};

use super::{ByteTokenizer, SubwordTokenizer, Tokenizer, TokenizerError};
use crate::storage::open_input;

/// Largest `tokenizer.json`: those of vocabularies of 256 thousand tokens are below 40 MB.
const MAX_BYTES: u64 = 1 << 27;

/// Reads a `tokenizer.json`.
///
/// # Errors
/// [`TokenizerError`] if the file cannot be read, is no JSON, or holds a tokenizer that is neither
/// [`ByteTokenizer`] nor of the kinds of [`SubwordTokenizer`].
pub fn load(path: &Path) -> Result<Box<dyn Tokenizer>, TokenizerError> {
    let mut json = String::new();
    open_input(path)?.take(MAX_BYTES + 1).read_to_string(&mut json)?;
    if json.len() as u64 > MAX_BYTES {
        return Err(TokenizerError::Unsupported(format!("it has more than {MAX_BYTES} bytes")));
    }
    from_json(&json)
}

/// Reads the content of a `tokenizer.json`.
///
/// # Errors
/// As [`load`].
pub fn from_json(json: &str) -> Result<Box<dyn Tokenizer>, TokenizerError> {
    match ByteTokenizer::from_json(json) {
        Ok(bytes) => Ok(Box::new(bytes)),
        Err(TokenizerError::Unsupported(_)) => Ok(Box::new(SubwordTokenizer::from_json(json)?)),
        Err(error) => Err(error),
    }
}
