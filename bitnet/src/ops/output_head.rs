//! The output head: logits of hidden states, `x · w`, in a precision.

use burn::tensor::{Tensor, backend::Backend};

#[cfg(feature = "cuda")]
use super::cube;
use super::matmul::matmul;
#[cfg(feature = "flex")]
use super::{flex, is_on};
use crate::precision::Precision;

/// The product of `x` with the weight of an output head.
///
/// # Shapes
/// - `x`: `[tokens, d_input]`
/// - `weight`: `[d_input, d_output]`, or `[d_output, d_input]` if it is `transposed`
/// - output: `[tokens, d_output]`
pub(crate) fn output_head<B: Backend>(
    precision: Precision,
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    transposed: bool,
) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if is_on::<burn_flex::Flex, _, _>(&x) {
        return flex::output_head(precision, x, weight, transposed);
    }
    #[cfg(feature = "cuda")]
    if precision == Precision::Bf16 && cube::is_on_gpu(&x) {
        return cube::output_head(x, weight, transposed);
    }
    matmul(precision, x, if transposed { weight.transpose() } else { weight })
}
