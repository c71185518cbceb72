//! The inner loops of integer products and of attention to a cache, one file for each kind of
//! processor, behind one table of functions.
//!
//! # Numbers
//!
//! Weights are unsigned bytes or parts of bytes, inputs signed bytes, sums `i32`. Sums wrap, as
//! integers modulo 2³² do: they are exact whenever the last of them fits, whatever was in between.
//! Ternary codes are `w + 1`, so that with `n` inputs of magnitude at most 127 the exact sum
//! `Σ w·x` lies within `±127·n`, which fits for every `n ≤ 2²⁴` (the largest layer there can be).

#![allow(unsafe_code, reason = "kernels for processors that have been asked")]

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
pub(crate) const PANEL: usize = 32;
/// Inputs of a block of ternary codes.
pub(crate) const TERNARY_BLOCK: usize = 16;
/// Inputs of a block of 8-bit weights.
pub(crate) const INT8_BLOCK: usize = 4;
/// Keys of attention that are multiplied together, and values that stand together.
pub(crate) const KEYS: usize = float::LANES;
/// Most queries that attend together.
pub(crate) const QUERIES: usize = float::TOGETHER;
/// Rows of codes to multiply at a time: a multiple of what each of the kernels computes together.
pub(crate) const TILE: usize = 24;
/// Most rows that codes are unpacked for in registers.
const FEW_ROWS: usize = 8;
/// The largest weight that [`Kernels::gemm`] takes.
#[cfg(test)]
const MAX_WEIGHT: u8 = 3;

/// How far ahead of what is read some kernels ask for more.
const PREFETCH_BYTES: usize = 8192;

/// Some inputs of a panel's rows, of either kind: four bytes a row. Aligned, so that no load of a
/// register crosses a line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [u8; 4 * PANEL]);

/// Sums of some rows with a panel. Aligned, so that no register of them crosses a line of the cache.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(crate) struct Sums<const ROWS: usize>(pub(crate) [[i32; PANEL]; ROWS]);

impl<const ROWS: usize> Sums<ROWS> {
    pub(crate) fn zero() -> Self {
        Self([[0; PANEL]; ROWS])
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::zeroed()
    }
}

// SAFETY: 128 bytes are all that a block is; its alignment of 64 divides them, so that there is no
// padding. Any bytes are valid ones, zeros among them.
unsafe impl Zeroable for Block {}
// SAFETY: without padding, and valid for any bytes.
unsafe impl Pod for Block {}

/// Rows of 8-bit codes, which begin every `stride` bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    codes: &'a [i8],
    stride: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(codes: &'a [i8], stride: usize) -> Self {
        Self { codes, stride }
    }

    /// The rows without their first codes.
    pub(crate) fn skip(self, codes: usize) -> Self {
        Self { codes: &self.codes[codes..], ..self }
    }

    /// The rows from one on.
    #[inline(always)]
    fn from(self, row: usize) -> Self {
        Self { codes: &self.codes[row * self.stride..], ..self }
    }

    /// Where the first row begins, and the bytes from one to the next: of so many rows that all have
    /// so many words.
    ///
    /// # Panics
    /// If they have not.
    #[inline(always)]
    fn words(self, rows: usize, words: usize) -> (*const i8, usize) {
        assert!((rows - 1) * self.stride + words * INT8_BLOCK <= self.codes.len());
        (self.codes.as_ptr(), self.stride)
    }

    /// The first words of a row.
    #[inline(always)]
    fn row(self, row: usize, words: usize) -> &'a [[i8; INT8_BLOCK]] {
        &self.codes[row * self.stride..].as_chunks().0[..words]
    }
}

/// A panel of ternary codes times a token.
type TernaryGemv = unsafe fn(&[Block], &[i8], &mut [i32; PANEL]);
/// A panel of weights as bytes times rows of codes: in the place of sums, or added to them.
type Gemm = unsafe fn(&[Block], Rows<'_>, bool, &mut [[i32; PANEL]]);
/// A panel of ternary codes times few rows of codes.
type TernaryGemm = unsafe fn(&[Block], Rows<'_>, &mut [[i32; PANEL]]);
/// A panel of 8-bit weights times the high and the low bytes of a token.
type Int8Gemv = unsafe fn(&[Block], [&[i8]; 2], &mut [[i32; PANEL]; 2]);

/// The kernels for one kind of processor.
#[derive(Debug)]
pub(crate) struct Kernels {
    isa: Isa,
    ternary_gemv: TernaryGemv,
    gemm: Gemm,
    /// Where few rows of codes do not pay for unpacking a panel.
    ternary_gemm: Option<TernaryGemm>,
    int8_gemv: Int8Gemv,
    float: float::Float,
}

impl Kernels {
    /// The kernels of `isa`, if this processor can run them.
    pub(crate) fn of(isa: Isa) -> Option<&'static Self> {
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
    pub(crate) fn best() -> &'static Self {
        Self::of(Isa::best()).unwrap_or(&scalar::KERNELS)
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// `Σ code·x` of each row of a panel.
    ///
    /// - `codes`: blocks of [`TERNARY_BLOCK`] inputs
    /// - `x`: as many inputs
    pub(crate) fn ternary_gemv(&self, codes: &[Block], x: &[i8], out: &mut [i32; PANEL]) {
        assert_eq!(codes.len() * TERNARY_BLOCK, x.len());
        // SAFETY: `of` returns these kernels for processors alone that have their instructions; the
        // lengths fit.
        unsafe { (self.ternary_gemv)(codes, x, out) }
    }

    /// `Σ weight·code` of each output of a panel, for `out.len()` rows of codes.
    ///
    /// - `weights`: blocks of [`INT8_BLOCK`] inputs, each weight at most [`MAX_WEIGHT`]
    /// - `codes`: as many inputs of each row
    /// - `adds`: whether the sums are added to what `out` holds
    pub(crate) fn gemm(
        &self,
        weights: &[Block],
        codes: Rows<'_>,
        adds: bool,
        out: &mut [[i32; PANEL]],
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
        out: &mut [[i32; PANEL]],
    ) -> bool {
        match self.ternary_gemm {
            Some(gemm) if out.len() <= FEW_ROWS => {
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
    /// - `weights`: blocks of [`INT8_BLOCK`] inputs, at most 2¹⁶ inputs
    /// - `x`: as many high and low bytes
    pub(crate) fn int8_gemv(&self, weights: &[Block], x: [&[i8]; 2], out: &mut [[i32; PANEL]; 2]) {
        let inputs = weights.len() * INT8_BLOCK;
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

    /// `query · key`, of at most [`QUERIES`] queries and whole panels of keys.
    ///
    /// - `keys`: the features of the first [`KEYS`], and `stride` features on those of the next
    /// - `out`: `[queries, keys]`
    pub(crate) fn scores(
        &self,
        queries: &[&[f32]],
        keys: &[[f32; KEYS]],
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
        keys: &[[i8; KEYS]],
        stride: usize,
        out: &mut [f32],
    ) {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.scores_int8)(queries, keys, stride, out) }
    }

    /// `exp(x − max x)` of each, in place; gives their sum.
    pub(crate) fn softmax(&self, x: &mut [f32]) -> f32 {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.softmax)(x) }
    }

    /// `Σ weight · value`, of at most [`QUERIES`] rows of weights.
    ///
    /// - `weights`: `[rows, values]`
    /// - `values`: the first [`KEYS`], one after the other, and `stride` numbers on the next
    /// - `out`: for each row as many numbers as a value has
    pub(crate) fn mix(
        &self,
        weights: &[f32],
        values: &[f32],
        stride: usize,
        out: &mut [&mut [f32]],
    ) {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.mix)(weights, values, stride, out) }
    }

    /// As [`mix`](Self::mix).
    pub(crate) fn mix_int8(
        &self,
        weights: &[f32],
        values: &[i8],
        stride: usize,
        out: &mut [&mut [f32]],
    ) {
        // SAFETY: `of` has asked the processor; the loops are safe code.
        unsafe { (self.float.mix_int8)(weights, values, stride, out) }
    }
}
