//! Forward and backward pass of a case on two backends, and their comparison.

use burn::{
    backend::Autodiff,
    tensor::{Tensor, TensorData, backend::Backend},
};
use burn_ndarray::NdArray;

use crate::ops::autodiff;

/// Where both forms only differ by rounding.
pub(super) const ROUNDING_TOLERANCE: f32 = 2e-5;
/// Where a difference of rounding may move an input across the boundary between two codes.
pub(super) const CODE_TOLERANCE: f32 = 2e-3;
/// The least that a tensor's largest value counts for. A gradient that vanishes, as after a norm of
/// one element or the softmax of one key, is what rounding leaves of terms of order one.
pub(super) const LEAST_MAGNITUDE: f32 = 1e-2;

/// An operation with constants and inputs.
pub(super) trait Case {
    /// Shapes of the inputs, and a factor for their values, which are between −1 and 1.
    fn inputs(&self) -> Vec<([usize; 2], f32)>;

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2>;
}

/// Numbers that look random, of either sign.
pub(super) fn noise([rows, columns]: [usize; 2], factor: f32, seed: usize) -> TensorData {
    let value = |i: usize| {
        let bits = (i + 1).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503));
        let bits = (bits ^ bits >> 15).wrapping_mul(2_246_822_519) as u32;
        ((bits ^ bits >> 13) >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..rows * columns).map(|i| factor * value(i)).collect();
    TensorData::new(values, [rows, columns])
}

pub(super) fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The output, and the gradients of all inputs; none of one that has no part in the output.
fn passes<B: Backend, C: Case>(case: &C) -> Vec<Option<Vec<f32>>> {
    let device = Default::default();
    let inputs: Vec<_> = case
        .inputs()
        .into_iter()
        .enumerate()
        .map(|(seed, (shape, factor))| {
            Tensor::<Autodiff<B>, 2>::from_data(noise(shape, factor, seed), &device).require_grad()
        })
        .collect();
    let y = case.compute(inputs.clone());
    let grad = Tensor::from_data(noise(y.dims(), 1.0, 99), &device);
    let grads = (y.clone() * grad).sum().backward();
    let gradients = inputs.into_iter().map(|input| input.grad(&grads).map(values));
    [Some(values(y.inner()))].into_iter().chain(gradients).collect()
}

/// Compares two results, each as a share of the largest of its values.
#[track_caller]
pub(super) fn compare(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let highest = expected.iter().fold(LEAST_MAGNITUDE, |a, b| a.max(b.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found - expected).abs();
        assert!(off <= tolerance * highest, "{what}, {i}: {found} for {expected} of {highest}");
    }
}

#[track_caller]
pub(super) fn check<I: Backend>(case: &impl Case, tolerance: f32) {
    let before = autodiff::applied();
    let found = passes::<I, _>(case);
    assert!(autodiff::applied() > before, "the backend has no operation of its own");
    let expected = passes::<NdArray, _>(case);
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let what = if i == 0 { "output".into() } else { format!("gradient {}", i - 1) };
        match (found, expected) {
            (Some(found), Some(expected)) => compare(found, expected, tolerance, &what),
            (found, expected) => assert_eq!(found, expected, "{what}"),
        }
    }
}
