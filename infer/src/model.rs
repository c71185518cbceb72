//! The model folder that every command reads.

use std::path::Path;

use anyhow::Context;
use bitnet::pretrained::Pretrained;
use burn::tensor::backend::Backend;

/// Reads the model folder `path`.
///
/// # Errors
/// If it is incomplete, damaged, or its files do not fit together.
pub fn load<B: Backend>(path: &Path, device: &B::Device) -> anyhow::Result<Pretrained<B>> {
    Pretrained::load(path, device).with_context(|| format!("model {}", path.display()))
}
