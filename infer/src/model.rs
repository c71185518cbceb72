//! The model folder that every command reads, and how it is packed.

use std::path::Path;

use anyhow::Context;
use bitnet::{packed::TableFormat, pretrained::Pretrained};
use burn::tensor::backend::Backend;

/// Reads the model folder `path`.
///
/// # Errors
/// If it is incomplete, damaged, or its files do not fit together.
pub fn load<B: Backend>(path: &Path, device: &B::Device) -> anyhow::Result<Pretrained<B>> {
    Pretrained::load(path, device).with_context(|| format!("model {}", path.display()))
}

/// In what embedding and output head of a packed model are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Head {
    /// 8 bits, one scale a row
    Int8,
    /// bfloat16
    Bf16,
    /// 32 bits, as in training
    F32,
}

impl Head {
    /// The library's name for it.
    pub fn format(self) -> TableFormat {
        match self {
            Self::Int8 => TableFormat::Int8,
            Self::Bf16 => TableFormat::Bf16,
            Self::F32 => TableFormat::F32,
        }
    }
}
