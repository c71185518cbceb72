//! Codes of weights with one scale, and of rows of activations.

use burn::tensor::{Tensor, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};
use multiversion::multiversion;

use super::{
    bf16_operands::{self, exact},
    int8_gemm::{self, Codes},
    kernel::{as_matrix, tensor, values},
    rows::for_pieces,
};
use crate::{
    float::{ROUND, magnitude, sum},
    quant::{SCALE_EPS, inverse_absmean},
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
    pub(super) fn measure(self, weight: &FlexTensor) -> Measured {
        let values = values(weight);
        // Reduced as the composed quantiser does it, so that both give every weight the same code.
        let weight = Tensor::<Flex, 2>::from_primitive(TensorPrimitive::Float(weight.clone()));
        let weight = weight.unsqueeze::<3>();
        let dims = [1, 2];
        let damage = damage(values);
        match self {
            Self::Ternary => {
                let s = inverse_absmean(weight, &dims).into_scalar();
                Measured { coding: self, s, center: 0.0, scale: 1.0 / s + damage }
            }
            Self::Binary => {
                let scale = weight.clone().abs().mean_dims(&dims).into_scalar();
                let center = weight.mean_dims(&dims).into_scalar();
                Measured { coding: self, s: 1.0, center, scale: scale + damage }
            }
        }
    }
}

/// A quantiser that has seen its weight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    coding: WeightCoding,
    /// Factor before rounding.
    s: f32,
    /// What is subtracted before taking the sign.
    center: f32,
    /// Codes become weights by this factor.
    pub(super) scale: f32,
}

impl Measured {
    /// −1, 0 or 1.
    #[inline(always)]
    fn code(self, w: f32) -> f32 {
        match self.coding {
            WeightCoding::Ternary => (w * self.s).round_ties_even().clamp(-1.0, 1.0),
            WeightCoding::Binary => {
                let centered = w - self.center;
                f32::from(centered > 0.0) - f32::from(centered < 0.0)
            }
        }
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
        let weights: Vec<_> = weights
            .map(|weight| {
                let measured = coding.measure(&weight);
                (weight, measured)
            })
            .collect();
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
        let mut all = vec![0.0; self.d_input * columns];
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
    let mut to = vec![0.0; rows * width];
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

/// Zero, or NaN if something is not finite: codes would not show it.
#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn damage(values: &[f32]) -> f32 {
    sum([values], |[value]| value * 0.0)
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
    int8_gemm::fill_panel(weight, d_output, column, words, |w| {
        (measured.code(w) + 1.0) as i32 as u32
    });
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn write_codes(measured: Measured, weights: &[f32], to: &mut [u16]) {
    for (to, &w) in to.iter_mut().zip(weights) {
        *to = exact(measured.code(w));
    }
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn dequantize(measured: Measured, from: &[f32], to: &mut [f32]) {
    for (to, &w) in to.iter_mut().zip(from) {
        *to = measured.code(w) * measured.scale;
    }
}
