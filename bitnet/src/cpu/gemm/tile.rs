//! The part of a product that is added up in registers, for every processor: what products of
//! matrices in the cache ([`in_cache`](super::in_cache)) and of blocked ones
//! ([`blocked`](super::blocked)) are made of.
//!
//! Each sum is added up in the order of the inner dimension, with one rounding for a product and its
//! sum: all kernels of an element come to the same bits.

#![allow(unsafe_code, reason = "vector intrinsics over raw pointers")]

use crate::cpu::float::FLOATS_PER_VECTOR;

/// Columns of a panel: those of a vector of sums.
pub(crate) const COLUMNS_PER_PANEL: usize = FLOATS_PER_VECTOR;
/// The most rows that are computed together.
pub(crate) const ROWS_PER_TILE: usize = 12;
/// The most panels that are computed together.
pub(super) const PANELS_PER_TILE: usize = 2;

/// A part of `left · right`: at most [`ROWS_PER_TILE`] rows of at most [`Kernel::columns`] columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a, W> {
    /// Begins with the first row and word. A word is at `row · row_stride + word · word_stride`.
    pub(crate) left: &'a [W],
    pub(crate) row_stride: usize,
    pub(crate) word_stride: usize,
    pub(crate) rows: usize,
    /// Begins with the first word and column. A panel begins every `panel_stride` words, in it a
    /// word of the inner dimension every `right_stride`.
    pub(crate) right: &'a [W],
    pub(crate) panel_stride: usize,
    pub(crate) right_stride: usize,
    pub(crate) columns: usize,
    /// Words of the inner dimension.
    pub(crate) depth: usize,
}

/// What computes tiles on this processor.
pub(crate) struct Kernel<W> {
    /// Columns of a tile, a multiple of [`COLUMNS_PER_PANEL`].
    pub(crate) columns: usize,
    pub(super) compute: unsafe fn(&Tile<'_, W>, Output),
}

/// Where sums are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// Of the first row and column.
    pub(super) to: *mut f32,
    /// Elements from one row to the next.
    pub(super) stride: usize,
    /// Whether they are added to what is there.
    pub(super) add: bool,
}

impl<W> Kernel<W> {
    /// Writes a tile, or adds it, to rows that begin every `stride` elements from `to` on.
    ///
    /// # Panics
    /// If an operand is too short.
    ///
    /// # Safety
    /// `to` is valid for writes of those rows and columns, and for reads if they are added to.
    #[inline]
    pub(crate) unsafe fn compute(
        &self,
        tile: &Tile<'_, W>,
        to: *mut f32,
        stride: usize,
        add: bool,
    ) {
        let &Tile { left, row_stride, word_stride, rows, columns, depth, .. } = tile;
        let &Tile { right, panel_stride, right_stride, .. } = tile;
        assert!((1..=ROWS_PER_TILE).contains(&rows) && (1..=self.columns).contains(&columns));
        if depth > 0 {
            let last = (rows - 1) * row_stride + (depth - 1) * word_stride;
            assert!(last < left.len(), "left operand");
            let [panel, lane] =
                [(columns - 1) / COLUMNS_PER_PANEL, (columns - 1) % COLUMNS_PER_PANEL];
            let last = panel * panel_stride + (depth - 1) * right_stride + lane;
            assert!(last < right.len(), "right operand");
        }
        // SAFETY: the operands have been checked, the output is the caller's promise; kernels are handed
        // out whose instructions the processor has.
        unsafe { (self.compute)(tile, Output { to, stride, add }) };
    }
}
