//! The inner loops, one file for each kind of processor, behind one table of functions.
//!
//! `unsafe` code is here and nowhere else in this crate. What a kernel may assume is checked where
//! it is called, in the methods of [`Kernels`].
//!
//! # Numbers
//!
//! Weights are unsigned bytes or parts of bytes, inputs signed bytes, sums `i32`. Sums wrap, as
//! integers modulo 2³² do: they are exact whenever the last of them fits, whatever was in between.
//! Ternary codes are `w + 1`, so that with `n` inputs of magnitude at most 127 the exact sum
//! `Σ w·x` lies within `±127·n`, which fits for every `n ≤ 2²⁴` (the largest layer there can be).

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod float;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use bytemuck::{Pod, Zeroable};
use half::bf16;

use crate::cpu::isa::Isa;

/// Rows that a kernel computes together.
pub(super) const PANEL: usize = 32;
/// Inputs of a block of ternary codes.
pub(super) const TERNARY_BLOCK: usize = 16;
/// Inputs of a block of 8-bit weights.
pub(super) const INT8_BLOCK: usize = 4;
/// Keys of attention that are multiplied together, and values that stand together.
pub(super) const KEYS: usize = float::LANES;
/// Most queries that attend together.
pub(crate) const QUERIES: usize = float::TOGETHER;
/// Most tokens that a kernel computes together.
pub(super) const TILE: usize = 8;

/// How far ahead of what is read some kernels ask for more.
const PREFETCH_BYTES: usize = 8192;

/// Some inputs of a panel's rows, of either kind: four bytes a row. Aligned, so that no load of a
/// register crosses a line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Block(pub(super) [u8; 4 * PANEL]);

// SAFETY: 128 bytes are all that a block is; its alignment of 64 divides them, so that there is no
// padding. Any bytes are valid ones, zeros among them.
unsafe impl Zeroable for Block {}
// SAFETY: as above.
unsafe impl Pod for Block {}

/// A panel of ternary codes times a token.
type TernaryGemv = unsafe fn(&[Block], &[i8], &mut [i32; PANEL]);
/// A panel of ternary codes times some tokens.
type TernaryGemm = unsafe fn(&[Block], &[i8], &mut [[i32; PANEL]]);
/// A panel of 8-bit weights times the high and the low bytes of a token.
type Int8Gemv = unsafe fn(&[Block], [&[i8]; 2], &mut [[i32; PANEL]; 2]);

/// The kernels for one kind of processor.
#[derive(Debug)]
pub(super) struct Kernels {
    isa: Isa,
    ternary_gemv: TernaryGemv,
    ternary_gemm: TernaryGemm,
    int8_gemv: Int8Gemv,
    float: float::Float,
}

impl Kernels {
    /// The kernels of `isa`, if this processor can run them.
    pub(super) fn of(isa: Isa) -> Option<&'static Self> {
        match isa {
            Isa::Scalar => Some(&scalar::KERNELS),
            #[cfg(target_arch = "x86_64")]
            _ => x86::kernels(isa),
            #[cfg(target_arch = "aarch64")]
            _ => neon::kernels(isa),
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            _ => None,
        }
    }

    /// Every table that this processor can run, the scalar one first.
    #[cfg(test)]
    fn all() -> Vec<&'static Self> {
        let mut all = vec![&scalar::KERNELS];
        #[cfg(target_arch = "x86_64")]
        all.extend(Isa::ALL.into_iter().filter_map(x86::tables).flatten());
        #[cfg(target_arch = "aarch64")]
        all.extend(Isa::ALL.into_iter().filter_map(neon::kernels));
        all
    }

    /// Those of [`Isa::best`].
    pub(super) fn best() -> &'static Self {
        Self::of(Isa::best()).unwrap_or(&scalar::KERNELS)
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    /// `Σ code·x` of each row of a panel.
    ///
    /// - `codes`: blocks of [`TERNARY_BLOCK`] inputs
    /// - `x`: as many inputs
    pub(super) fn ternary_gemv(&self, codes: &[Block], x: &[i8], out: &mut [i32; PANEL]) {
        assert_eq!(codes.len() * TERNARY_BLOCK, x.len());
        // SAFETY: `of` gives these kernels to processors alone that have their instructions; the
        // lengths fit.
        unsafe { (self.ternary_gemv)(codes, x, out) }
    }

    /// As [`ternary_gemv`](Self::ternary_gemv), for `out.len()` tokens, at most [`TILE`].
    ///
    /// - `x`: as many inputs of each token; those of a block, of one token after the other, then
    ///   those of the next: `[blocks, tokens, TERNARY_BLOCK]`
    pub(super) fn ternary_gemm(&self, codes: &[Block], x: &[i8], out: &mut [[i32; PANEL]]) {
        assert!((1..=TILE).contains(&out.len()));
        assert_eq!(codes.len() * out.len() * TERNARY_BLOCK, x.len());
        // SAFETY: as above.
        unsafe { (self.ternary_gemm)(codes, x, out) }
    }

    /// `Σ weight·x` of each row of a panel, for the high and the low bytes of the inputs.
    ///
    /// - `weights`: blocks of [`INT8_BLOCK`] inputs, at most 2¹⁶ inputs
    /// - `x`: as many high and low bytes
    pub(super) fn int8_gemv(&self, weights: &[Block], x: [&[i8]; 2], out: &mut [[i32; PANEL]; 2]) {
        let inputs = weights.len() * INT8_BLOCK;
        assert!(inputs <= 1 << 16);
        assert!(x[0].len() == inputs && x[1].len() == inputs);
        // SAFETY: as above.
        unsafe { (self.int8_gemv)(weights, x, out) }
    }

    /// `Σ a·b`, of vectors of the same length.
    pub(super) fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: `of` has checked the processor; the loops are safe code.
        unsafe { (self.float.dot)(a, b) }
    }

    /// As [`dot`](Self::dot).
    pub(super) fn dot_bf16(&self, a: &[f32], b: &[bf16]) -> f32 {
        // SAFETY: as above.
        unsafe { (self.float.dot_bf16)(a, b) }
    }

    /// `query · key`, of at most [`QUERIES`] queries and whole panels of keys.
    ///
    /// - `keys`: the features of the first [`KEYS`], and `stride` features on those of the next
    /// - `out`: `[queries, keys]`
    pub(super) fn scores(
        &self,
        queries: &[&[f32]],
        keys: &[[f32; KEYS]],
        stride: usize,
        out: &mut [f32],
    ) {
        // SAFETY: as above.
        unsafe { (self.float.scores)(queries, keys, stride, out) }
    }

    /// As [`scores`](Self::scores).
    pub(super) fn scores_int8(
        &self,
        queries: &[&[f32]],
        keys: &[[i8; KEYS]],
        stride: usize,
        out: &mut [f32],
    ) {
        // SAFETY: as above.
        unsafe { (self.float.scores_int8)(queries, keys, stride, out) }
    }

    /// `exp(x − max x)` of each, in place; gives their sum.
    pub(super) fn softmax(&self, x: &mut [f32]) -> f32 {
        // SAFETY: as above.
        unsafe { (self.float.softmax)(x) }
    }

    /// `Σ weight · value`, of at most [`QUERIES`] rows of weights.
    ///
    /// - `weights`: `[rows, values]`
    /// - `values`: the first [`KEYS`], one after the other, and `stride` numbers on the next
    /// - `out`: for each row as many numbers as a value has
    pub(super) fn mix(
        &self,
        weights: &[f32],
        values: &[f32],
        stride: usize,
        out: &mut [&mut [f32]],
    ) {
        // SAFETY: as above.
        unsafe { (self.float.mix)(weights, values, stride, out) }
    }

    /// As [`mix`](Self::mix).
    pub(super) fn mix_int8(
        &self,
        weights: &[f32],
        values: &[i8],
        stride: usize,
        out: &mut [&mut [f32]],
    ) {
        // SAFETY: as above.
        unsafe { (self.float.mix_int8)(weights, values, stride, out) }
    }

    /// `max|x|`; not a number if any `x` is none.
    pub(super) fn max_abs(&self, x: &[f32]) -> f32 {
        // SAFETY: as above.
        unsafe { (self.float.max_abs)(x) }
    }

    /// `Σ x²`.
    pub(super) fn sum_squares(&self, x: &[f32]) -> f32 {
        // SAFETY: as above.
        unsafe { (self.float.sum_squares)(x) }
    }

    /// `clamp(round(x · scale), −128, 127)`; gives the sum of the codes.
    pub(super) fn quantize(&self, x: &[f32], scale: f32, codes: &mut [i8]) -> i32 {
        // SAFETY: as above.
        unsafe { (self.float.quantize)(x, scale, codes) }
    }
}
