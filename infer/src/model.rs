//! The model that every command reads, and how it is packed.

use std::path::Path;

use anyhow::Context;
use bitnet::{packed::TableFormat, pretrained::Stored};

/// Opens the model `path`: a folder or a GGUF file.
///
/// # Errors
/// If it is incomplete, damaged, or its files do not fit together.
pub fn open(path: &Path) -> anyhow::Result<Stored> {
    Stored::open(path).with_context(|| of(path))
}

/// What messages begin with.
pub fn of(path: &Path) -> String {
    format!("model {}", path.display())
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
