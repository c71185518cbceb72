//! Codes of weights with one scale, and of rows of activations.

use burn::tensor::{Tensor, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};
use multiversion::multiversion;

use super::{
    bf16_operands::{self, exact},
    fresh::zeros,
    int8_gemm::{self, Codes},
    kernel::{as_matrix, tensor, values},
    magnitude::mean,
    rows::{for_pieces, share},
};
use crate::{
    float::{ROUND, magnitude, sum},
    quant::SCALE_EPS,
};

/// The weight quantisers that are fused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightCoding {
    /// [`ternary_absmean`](crate::quant::ternary_absmean)
    Ternary,
    /// [`binary_absmean`](crate::quant::binary_absmean)
    Binary,
}

impl WeightCoding {
    /// Measures a weight as the composed quantiser does it, so that both give it the same codes.
    pub(super) fn measure(self, weight: &FlexTensor) -> Measured {
        let magnitude = mean(values(weight));
        // NaN, if something is not finite: codes would not show it.
        let damage = magnitude * 0.0;
        match self {
            Self::Ternary => {
                let lowest = SCALE_EPS as f32;
                let s = 1.0 / if magnitude < lowest { lowest } else { magnitude };
                Measured { center: 0.0, s, threshold: 0.5, scale: 1.0 / s + damage }
            }
            Self::Binary => {
                let weight = TensorPrimitive::Float(weight.clone());
                let weight = Tensor::<Flex, 2>::from_primitive(weight).unsqueeze::<3>();
                let center = weight.mean_dims(&[1, 2]).into_scalar();
                Measured { center, s: 1.0, threshold: 0.0, scale: magnitude + damage }
            }
        }
    }
}

/// A quantiser that has seen its weight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// What is subtracted first.
    center: f32,
    /// Factor after that.
    s: f32,
    /// Where the magnitude of a code becomes one: what is rounded half to even, and clamped, is
    /// above ½, and a sign is that of what is above 0.
    threshold: f32,
    /// Codes become weights by this factor.
    pub(super) scale: f32,
}

impl Measured {
    /// Whether the code of a weight is 1, and whether it is −1.
    #[inline(always)]
    fn sides(self, w: f32) -> (bool, bool) {
        let w = (w - self.center) * self.s;
        (w > self.threshold, w < -self.threshold)
    }

    /// The code, raised by one.
    #[inline(always)]
    fn raised(self, w: f32) -> u32 {
        let (above, below) = self.sides(w);
        1 + u32::from(above) - u32::from(below)
    }

    /// `code · scale`, for a scale of 1 or the weight's.
    #[inline(always)]
    fn scaled(self, w: f32, scale: f32) -> f32 {
        let (above, below) = self.sides(w);
        let positive = if above { scale } else { 0.0 * scale };
        if below { -scale } else { positive }
    }
}

/// Weights of the same inputs, side by side.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    weights: Vec<(FlexTensor, Measured)>,
    pub(super) d_input: usize,
}

impl Weights {
    pub(super) fn new(coding: WeightCoding, weights: impl Iterator<Item = FlexTensor>) -> Self {
        let weights: Vec<_> = weights.collect();
        let elements = weights.iter().map(|weight| values(weight).len()).sum();
        let weights = share(elements, weights, |_, weight| {
            let measured = coding.measure(&weight);
            (weight, measured)
        });
        let d_input = weights.first().map_or(0, |(weight, _)| as_matrix(weight).0);
        Self { weights, d_input }
    }

    /// Their numbers of outputs.
    pub(super) fn widths(&self) -> Vec<usize> {
        self.weights.iter().map(|(weight, _)| as_matrix(weight).1).collect()
    }

    /// The number of outputs of each, and its scale.
    pub(super) fn segments(&self) -> Vec<(usize, f32)> {
        let scales = self.weights.iter().map(|(_, measured)| measured.scale);
        self.widths().into_iter().zip(scales).collect()
    }

    /// The codes for the product of the forward pass.
    pub(super) fn pack(&self) -> int8_gemm::Panels {
        let weights: Vec<_> = self
            .weights
            .iter()
            .map(|(weight, measured)| {
                let fill = |weight: &[f32], d_output, column, words: &mut [u32]| {
                    fill_codes(*measured, weight, d_output, column, words);
                };
                (values(weight), as_matrix(weight).1, measured.scale, fill)
            })
            .collect();
        int8_gemm::Panels::pack(self.d_input, &weights)
    }

    /// The codes, transposed, for products in bf16.
    pub(super) fn transposed(&self) -> bf16_operands::Panels {
        let weights: Vec<_> = self
            .weights
            .iter()
            .map(|(weight, measured)| {
                let write = |row: &[f32], to: &mut [u16]| write_codes(*measured, row, to);
                (values(weight), as_matrix(weight).1, write)
            })
            .collect();
        bf16_operands::Panels::transposed(self.d_input, &weights)
    }

    /// `w̃`, `[d_input, outputs of all]`.
    pub(super) fn dequantize(&self) -> FlexTensor {
        let columns: usize = self.widths().iter().sum();
        let mut all = zeros(self.d_input * columns);
        for_pieces(2 * all.len(), self.d_input, [(&mut all, columns)], |first, [all]| {
            for (i, row) in all.chunks_exact_mut(columns).enumerate() {
                let mut row = row;
                for (weight, measured) in &self.weights {
                    let (_, width) = as_matrix(weight);
                    let (to, others) = row.split_at_mut(width);
                    dequantize(*measured, &values(weight)[(first + i) * width..], to);
                    row = others;
                }
            }
        });
        tensor(all, [self.d_input, columns])
    }
}

/// `x̃`.
pub(super) fn decode(x: &Codes, width: usize) -> FlexTensor {
    let rows = x.scales.len();
    let mut to = zeros(rows * width);
    for_pieces(2 * to.len(), rows, [(&mut to, width)], |first, [to]| {
        for (i, to) in to.chunks_exact_mut(width).enumerate() {
            let stride = x.words * int8_gemm::QUAD;
            let codes = &x.codes[(first + i) * stride..];
            let scale = x.scales[first + i];
            decode_row(codes, scale, to);
        }
    });
    tensor(to, [rows, width])
}

/// 8-bit absmax codes of a row. Gives the scale, NaN for a row that is not finite, and the sum of
/// the codes.
#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn encode_row(x: &[f32], codes: &mut [i8]) -> (f32, i32) {
    let highest = magnitude(x).max(SCALE_EPS as f32);
    // Zero, unless something is infinite or not a number.
    let finite = sum([x], |[x]| x * 0.0);
    let scale = 1.0 / highest * 127.0 + finite;
    let mut sum = 0_i32;
    for (code, x) in codes.iter_mut().zip(x) {
        // Added to 1.5 · 2²³ a value is rounded to even, and its last byte is the code: at most
        // 127 by construction, or 0 for NaN.
        *code = (x * scale + ROUND).to_bits() as i8;
        sum += i32::from(*code);
    }
    (scale, sum)
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn decode_row(codes: &[i8], scale: f32, to: &mut [f32]) {
    for (to, &code) in to.iter_mut().zip(codes) {
        *to = f32::from(code) / scale;
    }
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn fill_codes(
    measured: Measured,
    weight: &[f32],
    d_output: usize,
    column: usize,
    words: &mut [u32],
) {
    int8_gemm::fill_panels(weight, d_output, column, words, |w| measured.raised(w));
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn write_codes(measured: Measured, weights: &[f32], to: &mut [u16]) {
    for (to, &w) in to.iter_mut().zip(weights) {
        *to = exact(measured.scaled(w, 1.0));
    }
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn dequantize(measured: Measured, from: &[f32], to: &mut [f32]) {
    for (to, &w) in to.iter_mut().zip(from) {
        *to = measured.scaled(w, measured.scale);
    }
}
