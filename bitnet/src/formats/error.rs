use std::{io, path::PathBuf};

use thiserror::Error;

/// A file of tensors that cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is cut short, or does not say what it should.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// Name of the file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is stored as something that is not read here.
    #[error("tensor \"{name}\" is stored as {dtype}, only {readable} can be read")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type in the file.
        dtype: String,
        /// What could be read.
        readable: &'static str,
    },
    /// A tensor's numbers are not what they are said to be.
    #[error("tensor \"{name}\" {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl FormatError {
    pub(super) fn damaged(file: &str, reason: impl Into<String>) -> Self {
        Self::Damaged { file: file.into(), reason: reason.into() }
    }

    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor { name: name.into(), reason: reason.into() }
    }
}
