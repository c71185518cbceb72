//! Products of matrices in a precision.

use burn::tensor::{FloatDType, Tensor, backend::Backend};

#[cfg(feature = "flex")]
use super::is_on;
use crate::precision::Precision;

/// The product of two matrices, or stacks of them. Gradients are products of the same precision,
/// and reach the operands in theirs.
///
/// Flex has bf16 for attention, the gradients of quantised linears and the output head, which are
/// operations of their own; to convert other operands there costs more than it brings.
pub(crate) fn matmul<B: Backend, const D: usize>(
    precision: Precision,
    a: Tensor<B, D>,
    b: Tensor<B, D>,
) -> Tensor<B, D> {
    match precision {
        Precision::F32 => a.matmul(b),
        #[cfg(feature = "flex")]
        Precision::Bf16 if is_on::<burn_flex::Flex, _, _>(&a) => a.matmul(b),
        Precision::Bf16 => {
            let [a, b] = [a, b].map(|operand| operand.cast(FloatDType::BF16));
            a.matmul(b).cast(FloatDType::F32)
        }
    }
}
