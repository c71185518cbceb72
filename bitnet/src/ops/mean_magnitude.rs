//! The mean magnitude of a weight.

use burn::tensor::{Tensor, backend::Backend};

#[cfg(feature = "cuda")]
use super::cube;
#[cfg(feature = "flex")]
use super::{flex, is_on};

/// `mean|w|` over some dimensions, each of size 1 in the output.
pub(crate) fn mean_magnitude<B: Backend, const D: usize>(
    weight: Tensor<B, D>,
    dims: &[usize],
) -> Tensor<B, D> {
    #[cfg(any(feature = "flex", feature = "cuda"))]
    {
        let whole = (0..D).all(|dim| dims.contains(&dim) || weight.dims()[dim] == 1);
        #[cfg(feature = "flex")]
        if whole && is_on::<burn_flex::Flex, _, _>(&weight) {
            return flex::mean_magnitude(weight);
        }
        #[cfg(feature = "cuda")]
        if whole && cube::is_on_gpu(&weight) {
            return cube::mean_magnitude(weight);
        }
    }
    weight.abs().mean_dims(dims)
}
