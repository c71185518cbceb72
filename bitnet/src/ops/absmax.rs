//! Absmax: quantisers of activations by their largest magnitude, to 8-bit codes and scales.
//!
//! These are the composed forms, and the reference. Over rows in memory
//! [`cpu::absmax`](crate::cpu::absmax) computes the same codes, on a GPU the kernels of
//! `ops::cube`.

use burn::tensor::{Tensor, backend::Backend};

use super::reciprocal;
use crate::cpu::absmax::{MAX_CODE, SCALE_EPS};

/// Q_b of b1 for 8 bits: 2^(b−1).
const PAPER_Q_B: f64 = 128.0;

/// A quantised activation: `value = codes / scale`.
#[derive(Debug, Clone)]
pub struct QuantizedActivation<B: Backend, const D: usize> {
    /// Integers in −128 ..= 127, as floats; the shape of the input.
    pub codes: Tensor<B, D>,
    /// Scale s; size 1 in every reduced dimension.
    pub scale: Tensor<B, D>,
}

impl<B: Backend, const D: usize> QuantizedActivation<B, D> {
    /// The values `codes / scale`, with which the forward pass computes.
    pub fn dequantize(self) -> Tensor<B, D> {
        self.codes / self.scale
    }
}

/// 8-bit absmax of b1.58 (training tips, figure 5): `s = 127 / max|x|`, codes `clamp(round(x·s),
/// −128, 127)`. The maximum runs over `dims` and is kept at or above
/// [`SCALE_EPS`](crate::quant::SCALE_EPS): with `dims = [D − 1]` there is one scale per token, with
/// all dimensions one for the tensor.
pub fn absmax_int8<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    dims: &[usize],
) -> QuantizedActivation<B, D> {
    let scale = reciprocal(magnitude(x.clone(), dims)).mul_scalar(MAX_CODE);
    let codes = (x * scale.clone()).round().clamp(-128.0, 127.0);
    QuantizedActivation { codes, scale }
}

/// 8-bit absmax of b1 (equations 4–5): `Clip(x · Q_b/γ, −Q_b + ε, Q_b − ε)` with `γ = max|x|`
/// and `Q_b = 128`.
///
/// The paper leaves rounding and the size of ε open. Here codes are rounded to integers and
/// saturate at ±127, which is what ε is for: +128 has no 8-bit code.
pub fn absmax_paper<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    dims: &[usize],
) -> QuantizedActivation<B, D> {
    let scale = reciprocal(magnitude(x.clone(), dims)).mul_scalar(PAPER_Q_B);
    let codes = (x * scale.clone()).round().clamp(-127.0, 127.0);
    QuantizedActivation { codes, scale }
}

/// The [0, Q_b] variant of [`absmax_paper`] for inputs of a layer that feeds a non-linearity
/// (b1, equations 6–7): `Clip((x − η) · Q_b/γ, ε, Q_b − ε)` with `η = min x`. As in the paper, η
/// is not added back.
pub fn absmax_paper_non_negative<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    dims: &[usize],
) -> QuantizedActivation<B, D> {
    let eta = dims.iter().fold(x.clone(), |t, &dim| t.min_dim(dim));
    let scale = reciprocal(magnitude(x.clone(), dims)).mul_scalar(PAPER_Q_B);
    let codes = ((x - eta) * scale.clone()).round().clamp(0.0, 127.0);
    QuantizedActivation { codes, scale }
}

fn magnitude<B: Backend, const D: usize>(x: Tensor<B, D>, dims: &[usize]) -> Tensor<B, D> {
    x.max_abs_dims(dims).clamp_min(SCALE_EPS)
}
