//! How codes and sums stand in memory.

use bytemuck::{Pod, Zeroable};

/// Rows that a kernel computes together.
pub(crate) const PANEL: usize = 32;
/// Inputs of a block of ternary codes.
pub(crate) const TERNARY_BLOCK: usize = 16;
/// Inputs of a block of 8-bit weights.
pub(crate) const INT8_BLOCK: usize = 4;
/// Rows of codes to multiply at a time: a multiple of what each of the kernels computes together.
pub(crate) const TILE: usize = 24;
/// The largest weight that a product of bytes takes.
#[cfg(test)]
pub(super) const MAX_WEIGHT: u8 = 3;

/// How far ahead of what is read some kernels ask for more.
pub(super) const PREFETCH_BYTES: usize = 8192;

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

    /// Where the first row begins, and the bytes from one to the next: of so many rows that all have
    /// so many words.
    ///
    /// # Panics
    /// If they have not.
    #[inline(always)]
    pub(super) fn words(self, rows: usize, words: usize) -> (*const i8, usize) {
        assert!((rows - 1) * self.stride + words * INT8_BLOCK <= self.codes.len());
        (self.codes.as_ptr(), self.stride)
    }

    /// The first words of a row.
    #[inline(always)]
    pub(super) fn row(self, row: usize, words: usize) -> &'a [[i8; INT8_BLOCK]] {
        &self.codes[row * self.stride..].as_chunks().0[..words]
    }
}
