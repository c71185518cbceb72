//! Models from the disk.

use std::path::Path;

use bitnet::{
    engine::{Engine, EngineError},
    pretrained::{CheckpointReader, FloatModel, PackedModel},
    progress::Progress,
};
use burn::tensor::backend::Backend;

use crate::{
    error::LoadError,
    pack::{PackOptions, load_packed, pack},
};

/// Opens the model `path`, a folder or a GGUF file, and leaves its weights where they are.
///
/// # Errors
/// [`LoadError::Model`].
pub fn open(path: &Path) -> Result<CheckpointReader, LoadError> {
    CheckpointReader::open(path).map_err(LoadError::of(path))
}

/// Loads the model `path` with latent weights.
///
/// # Errors
/// [`LoadError::Model`].
pub fn load_float<B: Backend>(path: &Path, device: &B::Device) -> Result<FloatModel<B>, LoadError> {
    FloatModel::load(path, device).map_err(LoadError::of(path))
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
    Packed(PackedModel),
    /// It was packed while it was loaded.
    NewlyPacked(PackedModel),
    /// With latent weights; if that was not asked for, why it cannot be packed.
    Float(FloatModel<B>, Option<EngineError>),
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
    if PackedModel::is_at(path) && !float {
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
