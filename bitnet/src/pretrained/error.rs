use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{
    engine::EngineError, formats::FormatError, nn::ModelError, packed::FileError,
    tokenizer::TokenizerError,
};

/// A model folder that cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PretrainedError {
    /// The folder cannot be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is no model, and what is there instead.
    #[error("{0}")]
    NoModel(String),
    /// Latent weights are asked for of a model that is packed.
    #[error("a packed model has no latent weights")]
    Packed,
    /// `model.packed` cannot be used.
    #[error("model.packed: {0}")]
    File(#[from] FileError),
    /// The model cannot be packed.
    #[error(transparent)]
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
    #[error("tokenizer.json cannot be used: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// A file of settings is not valid JSON, or says what cannot be.
    #[error("{file}: {error}")]
    Settings {
        /// Its name.
        file: &'static str,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// A file of tensors, or a tensor, is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A GGUF file holds no model that this library can build.
    #[error("the GGUF file cannot be used: {0}")]
    Gguf(String),
    /// The model cannot be written in a format: with what it is, and what would be written.
    #[error("this format cannot hold {0}")]
    NotExportable(String),
    /// A checkpoint's weights would mean something else in the model that is to begin with them.
    #[error("the checkpoint is of another model: {0}")]
    OtherModel(String),
    /// A tensor of the model is not in the file.
    #[error("the weights have no tensor \"{0}\", which config.json asks for")]
    MissingTensor(String),
    /// A tensor in the file is not of the model.
    #[error("the weights have a tensor \"{0}\" that config.json has no place for")]
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
