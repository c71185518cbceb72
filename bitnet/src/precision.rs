//! The number format of the matrix products.

use std::fmt;

use burn::tensor::{DType, FloatDType, Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

use crate::fused;

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

    /// The product of two matrices, or stacks of them. Gradients are products of the same
    /// precision, and reach the operands in theirs.
    ///
    /// Where operations are fused, bf16 is for attention, the gradients of quantised linears and
    /// the [output head](Self::project), which have kernels for it; to convert other operands costs
    /// more than it brings.
    pub(crate) fn matmul<B: Backend, const D: usize>(
        self,
        a: Tensor<B, D>,
        b: Tensor<B, D>,
    ) -> Tensor<B, D> {
        match self {
            Self::F32 => a.matmul(b),
            Self::Bf16 if fused::applies(&a) => a.matmul(b),
            Self::Bf16 => {
                let [a, b] = [a, b].map(|operand| operand.cast(FloatDType::BF16));
                a.matmul(b).cast(FloatDType::F32)
            }
        }
    }

    /// The product of `x` with the weight of an output head.
    ///
    /// # Shapes
    /// - `x`: `[tokens, d_input]`
    /// - `weight`: `[d_input, d_output]`, or `[d_output, d_input]` if it is `transposed`
    /// - output: `[tokens, d_output]`
    pub(crate) fn project<B: Backend>(
        self,
        x: Tensor<B, 2>,
        weight: Tensor<B, 2>,
        transposed: bool,
    ) -> Tensor<B, 2> {
        if self == Self::Bf16 && fused::applies(&x) {
            return fused::bf16_linear(x, weight, transposed);
        }
        self.matmul(x, if transposed { weight.transpose() } else { weight })
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
