use std::path::{Path, PathBuf};

use bitnet::{packed::TableFormat, pretrained::PretrainedError};
use thiserror::Error;

/// A model that cannot be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Its files are incomplete, damaged, or do not fit together, or it cannot be packed.
    #[error("{}", model_name(.path))]
    Model {
        /// The model.
        path: PathBuf,
        /// Why it cannot be loaded.
        #[source]
        error: PretrainedError,
    },
    /// A folder of packed weights holds its head in another format.
    #[error(
        "{}: it is packed with a head of {}, which cannot be changed",
        model_name(.path),
        .actual.name()
    )]
    OtherHead {
        /// The model.
        path: PathBuf,
        /// The format of its head.
        actual: TableFormat,
    },
    /// Packed weights are asked for on a device that cannot compute with them.
    #[error("a packed model runs on the CPU, by flex or ndarray")]
    PackedOffCpu,
}

impl LoadError {
    /// Says of which model an error is.
    pub(crate) fn of(path: &Path) -> impl FnOnce(PretrainedError) -> Self {
        move |error| Self::Model { path: path.into(), error }
    }
}

/// How messages name the model `path`.
pub fn model_name(path: &Path) -> String {
    format!("model {}", path.display())
}
