use crate::tokenizer::{Tokenizer, TokenizerError};

/// What a generation continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt<'a> {
    /// A text, in which no special token is meant.
    Text(&'a str),
    /// Tokens.
    Tokens(Vec<u32>),
}

impl Prompt<'_> {
    /// Its tokens.
    pub(super) fn into_tokens(self, tokenizer: &dyn Tokenizer) -> Result<Vec<u32>, TokenizerError> {
        match self {
            Self::Text(text) => tokenizer.encode(text.as_bytes()),
            Self::Tokens(tokens) => Ok(tokens),
        }
    }
}

impl<'a> From<&'a str> for Prompt<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Prompt<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u32>> for Prompt<'_> {
    fn from(tokens: Vec<u32>) -> Self {
        Self::Tokens(tokens)
    }
}
