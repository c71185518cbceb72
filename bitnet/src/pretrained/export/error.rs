use std::io;

use crate::{pretrained::PretrainedError, storage::Output};

/// Why an export stops: the disk, or the model.
#[derive(Debug)]
pub(super) enum ExportError {
    Io(io::Error),
    Model(PretrainedError),
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<E: Into<PretrainedError>> From<E> for ExportError {
    fn from(error: E) -> Self {
        Self::Model(error.into())
    }
}

impl ExportError {
    /// Says where the disk failed.
    pub(super) fn at(self, to: &Output) -> PretrainedError {
        match self {
            Self::Io(error) => PretrainedError::Write { path: to.path().into(), error },
            Self::Model(error) => error,
        }
    }
}
