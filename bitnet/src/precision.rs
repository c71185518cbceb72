//! The number format of the matrix products.

use std::fmt;

use burn::tensor::{DType, backend::Backend};
use serde::{Deserialize, Serialize};

/// In what the matrix products of a model are computed. Everything else, and the weights above
/// all, stays in 32 bits.
///
/// A property of a run, not of a model: it is in no configuration and no model folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// bfloat16 operands and results: 8 bits of mantissa, the range of f32.
    Bf16,
}

impl Precision {
    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Whether a device can compute in it.
    pub fn is_supported<B: Backend>(self, device: &B::Device) -> bool {
        match self {
            Self::F32 => true,
            Self::Bf16 => B::supports_dtype(device, DType::BF16),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
