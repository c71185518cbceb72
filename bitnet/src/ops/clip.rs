//! Clipping by the norm of all gradients together (arXiv 1211.5063):
//! `g ← g · min(1, max_norm / ‖g‖)`.

use burn::tensor::{Tensor, backend::Backend};

#[cfg(feature = "cuda")]
use super::cube;
use super::reciprocal;
#[cfg(feature = "flex")]
use super::{flex, is_on};

/// Added to the norm, as PyTorch does: keeps a zero norm from dividing by zero.
const NORM_EPS: f64 = 1e-6;

/// The clipped gradients, flattened as they are given, and the norm before, `[1]`. Nothing is read
/// back from a device other than the processor.
pub(crate) fn clip<B: Backend>(
    grads: Vec<Tensor<B, 1>>,
    max_norm: f64,
    device: &B::Device,
) -> (Vec<Tensor<B, 1>>, Tensor<B, 1>) {
    #[cfg(feature = "flex")]
    if !grads.is_empty() && grads.iter().all(is_on::<burn_flex::Flex, _, _>) {
        let norm = flex::sum_of_squares(&grads).sqrt();
        let factor = max_norm / (norm + NORM_EPS);
        let grads = if factor >= 1.0 { grads } else { flex::scale(grads, factor as f32) };
        return (grads, Tensor::from_floats([norm as f32], device));
    }
    #[cfg(feature = "cuda")]
    if !grads.is_empty() && grads.iter().all(cube::is_on_gpu) {
        return cube::clip(grads, max_norm, NORM_EPS);
    }
    let squares = grads.iter().map(|grad| grad.clone().square().sum());
    let norm = squares.fold(Tensor::zeros([1], device), Tensor::add).sqrt();
    let factor = reciprocal(norm.clone().add_scalar(NORM_EPS)).mul_scalar(max_norm).clamp_max(1.0);
    (grads.into_iter().map(|grad| grad * factor.clone()).collect(), norm)
}
