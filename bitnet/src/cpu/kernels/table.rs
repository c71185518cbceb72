//! The kernels of one kind of processor.

use half::bf16;

use super::{
    float::{Float, KEYS_PER_PANEL},
    layout::{Block, INPUTS_PER_INT8_BLOCK, INPUTS_PER_TERNARY_BLOCK, OUTPUTS_PER_PANEL, Rows},
};
use crate::cpu::isa::Isa;

/// Most rows that codes are unpacked for in registers.
pub(super) const MAX_ROWS_OF_TERNARY_GEMM: usize = 8;

/// A panel of ternary codes times a token.
pub(super) type TernaryGemv = unsafe fn(&[Block], &[i8], &mut [i32; OUTPUTS_PER_PANEL]);
/// A panel of weights as bytes times rows of codes: in the place of sums, or added to them.
pub(super) type Gemm = unsafe fn(&[Block], Rows<'_>, bool, &mut [[i32; OUTPUTS_PER_PANEL]]);
/// A panel of ternary codes times few rows of codes.
pub(super) type TernaryGemm = unsafe fn(&[Block], Rows<'_>, &mut [[i32; OUTPUTS_PER_PANEL]]);
/// A panel of 8-bit weights times the high and the low bytes of a token.
pub(super) type Int8Gemv = unsafe fn(&[Block], [&[i8]; 2], &mut [[i32; OUTPUTS_PER_PANEL]; 2]);

/// The kernels for one kind of processor.
#[derive(Debug)]
pub(crate) struct Kernels {
    pub(super) isa: Isa,
    pub(super) ternary_gemv: TernaryGemv,
    pub(super) gemm: Gemm,
    /// Where few rows of codes do not pay for unpacking a panel.
    pub(super) ternary_gemm: Option<TernaryGemm>,
    pub(super) int8_gemv: Int8Gemv,
    pub(super) float: Float,
}

impl Kernels {
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// `Σ code·x` of each row of a panel.
    ///
    /// - `codes`: blocks of [`INPUTS_PER_TERNARY_BLOCK`] inputs
    /// - `x`: as many inputs
    pub(crate) fn ternary_gemv(
        &self,
        codes: &[Block],
        x: &[i8],
        out: &mut [i32; OUTPUTS_PER_PANEL],
    ) {
        assert_eq!(codes.len() * INPUTS_PER_TERNARY_BLOCK, x.len());
        // SAFETY: `of` returns these kernels for processors alone that have their instructions; the
        // lengths fit.
        unsafe { (self.ternary_gemv)(codes, x, out) }
    }

    /// `Σ weight·code` of each output of a panel, for `out.len()` rows of codes.
    ///
    /// - `weights`: blocks of [`INPUTS_PER_INT8_BLOCK`] inputs, each weight at most 3
    /// - `codes`: as many inputs of each row
    /// - `adds`: whether the sums are added to what `out` holds
    pub(crate) fn gemm(
        &self,
        weights: &[Block],
        codes: Rows<'_>,
        adds: bool,
        out: &mut [[i32; OUTPUTS_PER_PANEL]],
    ) {
        // SAFETY: `of` returns these kernels for processors alone that have their instructions;
        // rows are as long as they are found to be where they are taken.
        unsafe { (self.gemm)(weights, codes, adds, out) }
    }

    /// As [`ternary_gemv`](Self::ternary_gemv), for few rows of codes; `false` where
    /// [`gemm`](Self::gemm) of unpacked codes is as fast, or for too many rows.
    ///
    /// - `x`: as many inputs of each row
    pub(crate) fn ternary_gemm(
        &self,
        codes: &[Block],
        x: Rows<'_>,
        out: &mut [[i32; OUTPUTS_PER_PANEL]],
    ) -> bool {
        match self.ternary_gemm {
            Some(gemm) if out.len() <= MAX_ROWS_OF_TERNARY_GEMM => {
                // SAFETY: `of` returns these kernels for processors alone that have their
                // instructions; rows are as long as they are found to be where they are taken.
                unsafe { gemm(codes, x, out) };
                true
            }
            _ => false,
        }
    }

    /// `Σ weight·x` of each row of a panel, for the high and the low bytes of the inputs.
    ///
    /// - `weights`: blocks of [`INPUTS_PER_INT8_BLOCK`] inputs, at most 2¹⁶ inputs
    /// - `x`: as many high and low bytes
    pub(crate) fn int8_gemv(
        &self,
        weights: &[Block],
        x: [&[i8]; 2],
        out: &mut [[i32; OUTPUTS_PER_PANEL]; 2],
    ) {
        let inputs = weights.len() * INPUTS_PER_INT8_BLOCK;
        assert!(inputs <= 1 << 16);
        assert!(x[0].len() == inputs && x[1].len() == inputs);
        // SAFETY: `of` returns these kernels for processors alone that have their instructions; the
        // lengths fit.
        unsafe { (self.int8_gemv)(weights, x, out) }
    }

    /// `Σ a·b`, of vectors of the same length.
    pub(crate) fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.dot)(a, b) }
    }

    /// As [`dot`](Self::dot).
    pub(crate) fn dot_bf16(&self, a: &[f32], b: &[bf16]) -> f32 {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.dot_bf16)(a, b) }
    }

    /// `query · key`, of at most `QUERIES_PER_PASS` queries and whole panels of keys.
    ///
    /// - `keys`: the features of the first [`KEYS_PER_PANEL`], and `stride` features on those of
    ///   the next
    /// - `out`: `[queries, keys]`
    pub(crate) fn scores(
        &self,
        queries: &[&[f32]],
        keys: &[[f32; KEYS_PER_PANEL]],
        stride: usize,
        out: &mut [f32],
    ) {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.scores)(queries, keys, stride, out) }
    }

    /// As [`scores`](Self::scores).
    pub(crate) fn scores_int8(
        &self,
        queries: &[&[f32]],
        keys: &[[i8; KEYS_PER_PANEL]],
        stride: usize,
        out: &mut [f32],
    ) {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.scores_int8)(queries, keys, stride, out) }
    }

    /// `exp(x − max x)` of each, in place; returns their sum.
    pub(crate) fn softmax(&self, x: &mut [f32]) -> f32 {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.softmax)(x) }
    }

    /// `Σ weight · value`, of at most `QUERIES_PER_PASS` rows of weights.
    ///
    /// - `weights`: `[rows, values]`
    /// - `values`: the first [`KEYS_PER_PANEL`], one after the other, and `stride` numbers on the
    ///   next
    /// - `out`: for each row as many numbers as a value has
    pub(crate) fn weighted_sum(
        &self,
        weights: &[f32],
        values: &[f32],
        stride: usize,
        out: &mut [&mut [f32]],
    ) {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.weighted_sum)(weights, values, stride, out) }
    }

    /// As [`weighted_sum`](Self::weighted_sum).
    pub(crate) fn weighted_sum_int8(
        &self,
        weights: &[f32],
        values: &[i8],
        stride: usize,
        out: &mut [&mut [f32]],
    ) {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.weighted_sum_int8)(weights, values, stride, out) }
    }
}
