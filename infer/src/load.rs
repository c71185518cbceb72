//! Models from the disk.

use std::path::{Path, PathBuf};

use bitnet::{
    engine::{Engine, EngineError},
    packed::TableFormat,
    pretrained::{Packed, Pretrained, PretrainedError, Stored},
    progress::Progress,
};
use burn::tensor::backend::Backend;
use thiserror::Error;

use crate::pack::{PackOptions, load_packed, pack};

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

/// Opens the model `path`, a folder or a GGUF file, and leaves its weights where they are.
///
/// # Errors
/// [`LoadError::Model`].
pub fn open(path: &Path) -> Result<Stored, LoadError> {
    Stored::open(path).map_err(LoadError::of(path))
}

/// Loads the model `path` with latent weights.
///
/// # Errors
/// [`LoadError::Model`].
pub fn load_float<B: Backend>(path: &Path, device: &B::Device) -> Result<Pretrained<B>, LoadError> {
    Pretrained::load(path, device).map_err(LoadError::of(path))
}

/// How a model is to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// With latent weights, even if it can be packed.
    pub float: bool,
    /// For a device other than the CPU, which cannot compute with packed weights.
    pub off_cpu: bool,
    /// How it is packed.
    pub packing: PackOptions,
}

/// A model that is ready to generate.
#[allow(clippy::large_enum_variant, reason = "there is one of them")]
pub enum Loaded<B: Backend> {
    /// Its folder holds packed weights.
    Packed(Packed),
    /// It was packed while it was loaded.
    NewlyPacked(Packed),
    /// With latent weights; if that was not asked for, why it cannot be packed.
    Float(Pretrained<B>, Option<EngineError>),
}

/// Loads the model `path`, packed if it can be and `options` do not say otherwise.
///
/// # Errors
/// [`LoadError`].
pub fn load<B: Backend>(
    path: &Path,
    device: &B::Device,
    options: LoadOptions,
    progress: &dyn Progress,
) -> Result<Loaded<B>, LoadError> {
    let LoadOptions { float, off_cpu, packing } = options;
    if Packed::is_at(path) && !float {
        return match off_cpu {
            true => Err(LoadError::PackedOffCpu),
            false => load_packed(path, packing, progress).map(Loaded::Packed),
        };
    }
    let stored = open(path)?;
    let reason = match Engine::supports(stored.config()) {
        _ if float || off_cpu => None,
        Ok(()) => return pack(stored, path, packing, progress).map(Loaded::NewlyPacked),
        Err(reason) => Some(reason),
    };
    Ok(Loaded::Float(stored.load(device).map_err(LoadError::of(path))?, reason))
}
