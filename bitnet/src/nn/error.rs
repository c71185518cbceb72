use thiserror::Error;

/// What can go wrong when a model is built or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Sizes of a configuration do not fit together.
    #[error("invalid model configuration: {0}")]
    InvalidConfig(String),
    /// A sequence, cached tokens included, is longer than the model allows.
    #[error("sequence of {actual} tokens is longer than the model's maximum of {max}")]
    MaxSequenceLengthExceeded {
        /// Tokens asked for, cached ones included.
        actual: usize,
        /// The model's `max_seq_len`.
        max: usize,
    },
    /// A token is none of the model's vocabulary.
    #[error("token {token} is none of the model's {max}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        max: usize,
    },
    /// A cache was made for another batch size.
    #[error("cache holds a batch of {cached}, the input is a batch of {actual}")]
    CacheBatchMismatch {
        /// Batch size of the cache.
        cached: usize,
        /// Batch size of the input.
        actual: usize,
    },
}
