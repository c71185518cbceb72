use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensorOps};
use burn_flex::{Flex, FlexTensor};
use multiversion::multiversion;

use super::{
    bf16_gemm,
    bf16_operands::{Left, Right, words_of_row},
    int8_gemm::{self, Codes, Panels},
    kernel::{Kernel, as_matrix, compute, primitive, tensor, values},
    rows::for_pieces,
};
use crate::{
    float::sum,
    quant::{SCALE_EPS, inverse_absmean},
};

/// The weight quantisers that are fused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WeightCoding {
    /// [`ternary_absmean`](crate::quant::ternary_absmean)
    Ternary,
    /// [`binary_absmean`](crate::quant::binary_absmean)
    Binary,
}

impl WeightCoding {
    /// A linear layer of a weight with one scale: 8-bit absmax codes of each row of `x`, codes of
    /// the weight, their product in integers where the processor can, and the straight-through
    /// gradients `dx = dy · w̃ᵀ` and `dw = x̃ᵀ · dy`. With `bf16_gradients` `dy` is rounded to bf16
    /// for both of these, where the processor has such products; codes are exact in bf16, and sums
    /// are f32.
    ///
    /// # Shapes
    /// - `x`: `[tokens, d_input]`
    /// - `weight`: `[d_input, d_output]`, latent
    /// - output: `[tokens, d_output]`
    pub(crate) fn linear<B: Backend>(
        self,
        x: Tensor<B, 2>,
        weight: Tensor<B, 2>,
        bf16_gradients: bool,
    ) -> Tensor<B, 2> {
        let kernel = CodedLinear { coding: self, bf16_gradients };
        compute::<B, _, 2, 2>(kernel, [primitive(x), primitive(weight)])
    }

    fn measure(self, weight: &FlexTensor) -> Measured {
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
struct Measured {
    coding: WeightCoding,
    /// Factor before rounding.
    s: f32,
    /// What is subtracted before taking the sign.
    center: f32,
    /// Codes become weights by this factor.
    scale: f32,
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

    fn pack(self, weight: &FlexTensor) -> Panels {
        let (_, d_output) = as_matrix(weight);
        let weight = values(weight);
        pack(self, weight, d_output)
    }

    /// `w̃`, in the shape of the weight.
    fn dequantize(self, weight: &FlexTensor) -> FlexTensor {
        let (rows, width) = as_matrix(weight);
        let from = values(weight);
        let mut to = vec![0.0; from.len()];
        for_pieces(2 * to.len(), rows, [(&mut to, width)], |first, [to]| {
            dequantize(self, &from[first * width..], to);
        });
        tensor(to, [rows, width])
    }
}

/// Zero, or NaN if something is not finite: codes would not show it.
#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn damage(values: &[f32]) -> f32 {
    sum(values.len(), |i| values[i] * 0.0)
}

/// 8-bit absmax codes of each row.
fn encode(x: &FlexTensor) -> Codes {
    let (rows, width) = as_matrix(x);
    let from = values(x);
    let words = width.div_ceil(int8_gemm::QUAD);
    let mut codes = vec![0; rows * words * int8_gemm::QUAD];
    let mut scales = Vec::with_capacity(rows);
    let mut sums = Vec::with_capacity(rows);
    let stride = words * int8_gemm::QUAD;
    for (x, codes) in from.chunks_exact(width).zip(codes.chunks_exact_mut(stride)) {
        let (scale, sum) = encode_row(x, codes);
        scales.push(scale);
        sums.push(sum);
    }
    Codes { codes, words, scales, sums }
}

/// Gives the scale, NaN for a row that is not finite, and the sum of the codes.
#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn encode_row(x: &[f32], codes: &mut [i8]) -> (f32, i32) {
    const LANES: usize = 16;
    let mut highest = [0.0_f32; LANES];
    // Stays zero, unless something is infinite or not a number.
    let mut finite = [0.0_f32; LANES];
    for chunk in x.chunks(LANES) {
        for ((highest, finite), x) in highest.iter_mut().zip(&mut finite).zip(chunk) {
            let magnitude = x.abs();
            *highest = if magnitude > *highest { magnitude } else { *highest };
            *finite += x * 0.0;
        }
    }
    let highest = highest.into_iter().fold(SCALE_EPS as f32, f32::max);
    let finite: f32 = finite.into_iter().sum();
    let scale = 1.0 / highest * 127.0 + finite;
    let mut sum = 0_i32;
    for (code, x) in codes.iter_mut().zip(x) {
        // Added to 1.5 · 2²³ a value is rounded to even, and its last byte is the code: at most
        // 127 by construction, or 0 for NaN.
        *code = (x * scale + 12_582_912.0).to_bits() as i8;
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
fn pack(measured: Measured, weight: &[f32], d_output: usize) -> Panels {
    Panels::pack(weight, d_output, |w| (measured.code(w) + 1.0) as i32 as u32)
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn dequantize(measured: Measured, from: &[f32], to: &mut [f32]) {
    for (to, &w) in to.iter_mut().zip(from) {
        *to = measured.code(w) * measured.scale;
    }
}

/// `x̃`.
fn decode(x: &Codes, width: usize) -> FlexTensor {
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

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn code_words(measured: Measured, weight: &[f32], words: &mut [u32]) {
    words_of_row(weight, words, |w| measured.code(w));
}

#[derive(Debug, Clone)]
struct CodedLinear {
    coding: WeightCoding,
    bf16_gradients: bool,
}

#[derive(Debug, Clone)]
struct Saved {
    x: Codes,
    weight: FlexTensor,
    measured: Measured,
}

impl Saved {
    /// `dy · w̃ᵀ`.
    fn input_gradient(&self, grad: &FlexTensor, in_bf16: bool) -> FlexTensor {
        if !in_bf16 {
            let weight = self.measured.dequantize(&self.weight).transpose(0, 1);
            return Flex::float_matmul(grad.clone(), weight);
        }
        let (rows, d_output) = as_matrix(grad);
        let (d_input, _) = as_matrix(&self.weight);
        let weight = Right::transposed(values(&self.weight), d_output, |row, words| {
            code_words(self.measured, row, words);
        });
        let grad = Left::of_rows(values(grad), d_output);
        tensor(bf16_gemm::product(&grad, &weight, self.measured.scale), [rows, d_input])
    }

    /// `x̃ᵀ · dy`.
    fn weight_gradient(&self, grad: FlexTensor, in_bf16: bool) -> FlexTensor {
        let (d_input, d_output) = as_matrix(&self.weight);
        if !in_bf16 {
            return Flex::float_matmul(decode(&self.x, d_input).transpose(0, 1), grad);
        }
        let codes = Left::of_codes_transposed(&self.x, d_input);
        let grad = Right::scaled(values(&grad), d_output, &self.x.scales);
        tensor(bf16_gemm::product(&codes, &grad, 1.0), [d_input, d_output])
    }
}

impl Kernel<2> for CodedLinear {
    type Saved = Saved;

    fn forward(&self, [x, weight]: [FlexTensor; 2]) -> (FlexTensor, Saved) {
        let (rows, d_input) = as_matrix(&x);
        let (_, d_output) = as_matrix(&weight);
        let measured = self.coding.measure(&weight);
        let x = encode(&x);
        let y = if int8_gemm::is_supported(d_input) {
            let y = int8_gemm::product(&x, &measured.pack(&weight), measured.scale);
            tensor(y, [rows, d_output])
        } else {
            Flex::float_matmul(decode(&x, d_input), measured.dequantize(&weight))
        };
        (y, Saved { x, weight, measured })
    }

    fn backward(
        &self,
        saved: Saved,
        grad: FlexTensor,
        [for_x, for_weight]: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let in_bf16 = self.bf16_gradients && bf16_gemm::is_supported();
        [
            for_x.then(|| saved.input_gradient(&grad, in_bf16)),
            for_weight.then(|| saved.weight_gradient(grad, in_bf16)),
        ]
    }
}
