use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{engine::EngineError, model::ModelError, packed::FileError, tokenizer::TokenizerError};

/// A model folder that cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PretrainedError {
    /// A file of the folder cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The folder cannot be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Latent weights are asked for of a model that is packed.
    #[error("a packed model has no latent weights")]
    Packed,
    /// `model.packed` cannot be used.
    #[error("model.packed: {0}")]
    File(#[from] FileError),
    /// The model of `config.json` cannot be one with packed weights.
    #[error("config.json: {0}")]
    Engine(EngineError),
    /// `config.json` is not valid JSON or lacks a field.
    #[error("config.json: {0}")]
    Config(#[from] serde_json::Error),
    /// `config.json` describes a model that this library cannot build.
    #[error("config.json: {0}")]
    Unsupported(String),
    /// `config.json` has sizes that do not fit together.
    #[error("config.json: {0}")]
    Model(#[from] ModelError),
    /// `tokenizer.json` cannot be used.
    #[error("tokenizer.json: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// `model.safetensors` is damaged or cut short.
    #[error("model.safetensors is damaged: {0}")]
    Safetensors(#[from] safetensors::SafeTensorError),
    /// A tensor of the model is not in the file.
    #[error("model.safetensors has no tensor \"{0}\", which config.json asks for")]
    MissingTensor(String),
    /// A tensor in the file is not of the model.
    #[error("model.safetensors has a tensor \"{0}\" that config.json has no place for")]
    UnexpectedTensor(String),
    /// A tensor has another shape than the model.
    #[error("tensor \"{name}\" is {actual:?}, config.json asks for {expected:?}")]
    ShapeMismatch {
        /// The tensor.
        name: String,
        /// Its shape in the file.
        actual: Vec<usize>,
        /// Its shape in the model.
        expected: Vec<usize>,
    },
    /// A tensor is stored as something else than f32, bf16 or f16.
    #[error("tensor \"{name}\" is stored as {dtype}, only F32, BF16 and F16 can be read")]
    UnsupportedDtype {
        /// The tensor.
        name: String,
        /// Its type in the file.
        dtype: String,
    },
    /// A weight is infinite or not a number.
    #[error("tensor \"{0}\" holds values that are not finite")]
    NonFinite(String),
    /// Tokenizer and model disagree.
    #[error("the tokenizer has {tokenizer} tokens, the model's vocabulary {model}")]
    VocabularyMismatch {
        /// Size of the tokenizer's vocabulary.
        tokenizer: usize,
        /// Size of the model's vocabulary.
        model: usize,
    },
}

impl From<EngineError> for PretrainedError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::File(error) => Self::File(error),
            EngineError::Model(error) => Self::Model(error),
            error => Self::Engine(error),
        }
    }
}
