//! RMSNorm with gains (arXiv 1910.07467): `y = x / √(mean(x²) + ε) · g` over the last dimension.

use burn::tensor::{Tensor, backend::Backend};

pub(crate) use super::arguments::Norm;
#[cfg(feature = "cuda")]
use super::cube;
use super::reciprocal;
#[cfg(feature = "flex")]
use super::{flex, is_on};

impl<B: Backend> Norm<B> {
    /// # Shapes
    /// - `x`: `[..., features]`; the output has the same shape.
    pub(crate) fn apply<const D: usize>(self, x: Tensor<B, D>) -> Tensor<B, D> {
        rms_norm(x, self.gains, self.eps)
    }
}

/// The norm of `x`.
///
/// # Shapes
/// - `x`: `[..., features]`; the output has the same shape.
/// - `gains`: `[features]`
pub(crate) fn rms_norm<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    gains: Tensor<B, 1>,
    eps: f64,
) -> Tensor<B, D> {
    #[cfg(feature = "flex")]
    if is_on::<burn_flex::Flex, _, _>(&x) {
        return flex::rms_norm(x, gains, eps);
    }
    #[cfg(feature = "cuda")]
    if cube::is_on_gpu(&x) {
        return cube::rms_norm(x, gains, eps);
    }
    rms_normalize(x, eps) * gains.unsqueeze()
}

/// `x / √(mean(x²) + ε)` over the last dimension (RMSNorm without gain, arXiv 1910.07467).
pub fn rms_normalize<B: Backend, const D: usize>(x: Tensor<B, D>, eps: f64) -> Tensor<B, D> {
    // The product with the reciprocal has half the backward pass of the division.
    x.clone() * reciprocal(x.square().mean_dim(D - 1).add_scalar(eps).sqrt())
}
