//! The mean of all elements: `Σ x / n`.

use burn::tensor::{Tensor, backend::Backend};

#[cfg(feature = "cuda")]
use super::cube;

/// The mean, `[1]`.
pub(crate) fn mean<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, 1> {
    #[cfg(feature = "cuda")]
    if cube::is_on_gpu(&x) {
        let count = x.shape().num_elements();
        return cube::mean(x.reshape([count]));
    }
    x.mean()
}
