use std::{io, path::PathBuf};

use thiserror::Error;

use crate::tokenizer::TokenizerError;

/// A source of data that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// No source was named.
    #[error("no data source is given, or an empty one")]
    NoSource,
    /// A file or folder cannot be read, or a compressed file is damaged.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A source is no dataset, and there is no file or folder of that name.
    #[error("cannot read {source_name}: {error}, nor is it a dataset: those are {datasets}")]
    NoSuchSource {
        /// The source.
        source_name: String,
        /// What the system says.
        error: io::Error,
        /// The datasets.
        datasets: String,
    },
    /// A pattern is malformed, or no file matches it.
    #[error("{pattern}: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// A file's bytes are no text.
    #[error("{path} is {what}: {advice}")]
    NotText {
        /// The file.
        path: PathBuf,
        /// What it is, in words.
        what: String,
        /// What to do.
        advice: String,
    },
    /// One of a file's many documents is not what it should be.
    #[error("{path}, {unit} {number}: {reason}")]
    Row {
        /// The file.
        path: PathBuf,
        /// "line", "record" or "row".
        unit: &'static str,
        /// Which of them, from 1 on.
        number: u64,
        /// What is wrong.
        reason: String,
    },
    /// A Parquet file is damaged, asks for what is not supported, or has not the column.
    #[error("{path}: {reason}")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The text cannot be encoded.
    #[error("tokenizer.json cannot be used: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// All sources together hold no byte.
    #[error("the data is empty: {0}")]
    Empty(String),
    /// The dataset of that name was not compiled in.
    #[error("dataset \"{0}\" is not compiled in; rebuild with --features {0}")]
    NotCompiledIn(&'static str),
    /// A part of the data is too short for even one window.
    #[error("the {part} data has {actual} tokens, one window needs {needed}")]
    TooShort {
        /// "training" or "validation".
        part: &'static str,
        /// Tokens there.
        actual: usize,
        /// Tokens of a window: the sequence and one to predict.
        needed: usize,
    },
    /// The cache folder cannot be used.
    #[error("cannot write {path}: {error}; BITNET_CACHE or data.cache names another folder")]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file was written to while it was read.
    #[error("{0} has changed while it was in use: it holds tokens that the tokenizer has not")]
    Changed(PathBuf),
    /// A dataset is not here and must not be fetched.
    #[error("dataset \"{name}\" is not at {path}, and offline nothing is downloaded")]
    Offline {
        /// The dataset.
        name: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// A dataset cannot be fetched.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// Where from.
        url: String,
        /// What happened, and what is kept.
        reason: String,
    },
    /// What was fetched is something else.
    #[error("{what} is not dataset \"{name}\": {reason}")]
    NotTheDataset {
        /// The file or address.
        what: String,
        /// The dataset.
        name: &'static str,
        /// How it differs.
        reason: String,
    },
}
