//! Text generation: sampling, stop conditions, and the stream of generated text, by any model that
//! is a [`CausalLm`].

mod batch;
mod causal_lm;
mod config;
mod prompt;
mod sampling;
mod sequence;
mod stop;
mod stream;

use thiserror::Error;

pub use batch::{GenerationBatch, SequenceId};
pub use causal_lm::CausalLm;
pub use config::GenerationConfig;
pub use prompt::Prompt;
pub use sampling::{Sampler, Sampling};
pub use sequence::{FinishReason, Prefix};
pub use stream::Generation;

pub use crate::nn::{SequenceBatch, SequenceCache};

use crate::{nn::ModelError, tokenizer::TokenizerError};

/// A generation that cannot be started or continued.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The prompt has no token.
    #[error("the prompt is empty; give at least one character")]
    EmptyPrompt,
    /// The prompt leaves no room in the model's context.
    #[error("the prompt has {actual} tokens, the model's context holds {max}")]
    PromptTooLong {
        /// Tokens of the prompt.
        actual: usize,
        /// The model's `max_seq_len`.
        max: usize,
    },
    /// A sampling parameter is out of range.
    #[error("{name} is {}, must be {expected}", crate::terminal::number(*.value))]
    InvalidSampling {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// Its range.
        expected: &'static str,
    },
    /// The model returned a logit that is not finite.
    #[error("the model's output is not finite; its weights are damaged")]
    NonFinite,
    /// The prompt cannot be encoded.
    #[error("tokenizer.json cannot be used: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// The forward pass failed.
    #[error(transparent)]
    Model(#[from] ModelError),
}
