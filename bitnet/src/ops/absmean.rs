//! Absmean: quantisers of weights by their mean magnitude, to codes −1, 0 and 1 and a scale.
//!
//! These are the composed forms, and the reference. Over weights in memory
//! [`cpu::absmean`](crate::cpu::absmean) computes the same codes, on a GPU the kernels of
//! `ops::cube`.

use burn::tensor::{Tensor, backend::Backend};

use super::{arguments::WeightQuantizer, mean_magnitude::mean_magnitude, reciprocal};
use crate::cpu::absmax::SCALE_EPS;

impl WeightQuantizer {
    /// What the forward pass multiplies by, of the same shape as the weight, without gradient.
    pub(crate) fn dequantized<B: Backend>(self, weight: Tensor<B, 2>) -> Tensor<B, 2> {
        let weight = weight.unsqueeze::<3>();
        let (codes, scale) = match self {
            Self::Ternary => ternary_absmean(weight, &[1, 2]),
            Self::Binary => binary_absmean(weight, &[1, 2]),
        };
        (codes * scale).squeeze_dim(0)
    }
}

/// Ternary weights (b1.58, equations 1–3): `s = 1 / mean|w|`, codes `clamp(round(w·s), −1, 1)`,
/// scale `1 / s`. The mean runs over `dims` and is kept at or above
/// [`SCALE_EPS`](crate::quant::SCALE_EPS).
///
/// Returns `(codes, scale)`; the scale has size 1 in each of `dims`.
pub fn ternary_absmean<B: Backend, const D: usize>(
    weight: Tensor<B, D>,
    dims: &[usize],
) -> (Tensor<B, D>, Tensor<B, D>) {
    let s = reciprocal(mean_magnitude(weight.clone(), dims).clamp_min(SCALE_EPS));
    let codes = (weight * s.clone()).round().clamp(-1.0, 1.0);
    (codes, reciprocal(s))
}

/// Binary weights of the training tips (figure 5): codes `sign(w − mean w)` with `sign(0) = 0`,
/// scale `mean|w|` of the uncentred weights.
pub fn binary_absmean<B: Backend, const D: usize>(
    weight: Tensor<B, D>,
    dims: &[usize],
) -> (Tensor<B, D>, Tensor<B, D>) {
    let scale = mean_magnitude(weight.clone(), dims);
    let mean = weight.clone().mean_dims(dims);
    ((weight - mean).sign(), scale)
}

/// Binary weights exactly as in b1 (equations 1–3, 12): codes `Sign(w − α)` with `Sign(0) = −1`,
/// `α = mean w`, scale `β = mean|w|` of the uncentred weights.
pub fn binary_paper<B: Backend, const D: usize>(
    weight: Tensor<B, D>,
    dims: &[usize],
) -> (Tensor<B, D>, Tensor<B, D>) {
    let beta = mean_magnitude(weight.clone(), dims);
    let alpha = weight.clone().mean_dims(dims);
    let positive = (weight - alpha).greater_elem(0.0).float();
    (positive.mul_scalar(2.0).sub_scalar(1.0), beta)
}
