use thiserror::Error;

use crate::tokenizer::TokenizerError;

/// A chat that does not become a text.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The model was not made for chats.
    #[error("the model has no chat template")]
    Missing,
    /// The template cannot be followed, or refuses the messages.
    #[error("the chat template cannot be used: {0}")]
    Template(String),
    /// The template makes something else of a text.
    #[error("the chat template changes the texts of messages")]
    Changed,
    /// A text cannot be encoded.
    #[error("tokenizer.json cannot be used: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// The template repeats texts too often.
    #[error("the chat template makes too long a text")]
    TooLong,
}
