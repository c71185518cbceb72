//! How codes and sums stand in memory.

use bytemuck::{Pod, Zeroable};

/// Outputs of a panel of weights, which a kernel computes together.
pub(crate) const OUTPUTS_PER_PANEL: usize = 32;
/// Inputs of a block of ternary codes.
pub(crate) const INPUTS_PER_TERNARY_BLOCK: usize = 16;
/// Inputs of a block of 8-bit weights.
pub(crate) const INPUTS_PER_INT8_BLOCK: usize = 4;
/// Rows of codes to multiply at a time: a multiple of what each of the kernels computes together.
pub(crate) const TOKENS_PER_TILE: usize = 24;
/// The largest weight that a product of bytes takes.
#[cfg(test)]
pub(super) const MAX_WEIGHT: u8 = 3;

/// How far ahead some kernels prefetch.
pub(super) const PREFETCH_BYTES: usize = 8192;

/// Some inputs of a panel's rows, of either kind: four bytes a row. Aligned, so that no load of a
/// register crosses a line of the cache.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [u8; 4 * OUTPUTS_PER_PANEL]);

/// Sums of some rows with a panel. Aligned, so that no register of them crosses a line of the
/// cache.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(crate) struct Sums<const ROWS: usize>(pub(crate) [[i32; OUTPUTS_PER_PANEL]; ROWS]);

impl<const ROWS: usize> Sums<ROWS> {
    pub(crate) fn zero() -> Self {
        Self([[0; OUTPUTS_PER_PANEL]; ROWS])
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

/// Four codes as the word that stands in every lane of a register.
#[inline(always)]
pub(super) fn word_of(codes: [i8; INPUTS_PER_INT8_BLOCK]) -> i32 {
    // Written out: a function of the standard library would not be compiled for the same vector
    // units.
    i32::from_ne_bytes([
        codes[0].cast_unsigned(),
        codes[1].cast_unsigned(),
        codes[2].cast_unsigned(),
        codes[3].cast_unsigned(),
    ])
}

/// Rows of 8-bit codes, which begin every `stride` bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(super) codes: &'a [i8],
    pub(super) stride: usize,
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
    pub(super) fn from(self, row: usize) -> Self {
        Self { codes: &self.codes[row * self.stride..], ..self }
    }

    /// Where the first row begins, and the bytes from one to the next: of so many rows that all
    /// have so many words.
    ///
    /// # Panics
    /// If they have not.
    #[inline(always)]
    pub(super) fn words(self, rows: usize, words: usize) -> (*const i8, usize) {
        assert!((rows - 1) * self.stride + words * INPUTS_PER_INT8_BLOCK <= self.codes.len());
        (self.codes.as_ptr(), self.stride)
    }

    /// The first words of a row.
    #[inline(always)]
    pub(super) fn row(self, row: usize, words: usize) -> &'a [[i8; INPUTS_PER_INT8_BLOCK]] {
        &self.codes[row * self.stride..].as_chunks().0[..words]
    }
}
