use burn::tensor::{Tensor, backend::Backend};

/// `1 / x`, correctly rounded.
///
/// [`Tensor::recip`] is not on burn-ndarray: with its `simd` feature it is the processor's estimate
/// of 8 to 14 bits, for some elements and not for others, so that codes near a boundary would come
/// out differently from one call to the next.
pub(crate) fn reciprocal<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    x.ones_like() / x
}
