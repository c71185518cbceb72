//! Products of large matrices, whose operands are laid out in blocks first
//! ([`operands`](super::operands)): those of the backward pass, and of the output head.
//!
//! Of the backward pass of a quantised linear one operand is the gradient of the output, in 32 bits
//! or rounded to bf16; the other one holds codes, ternary or of 8 bits, which both represent
//! exactly. `vdpbf16ps` multiplies two bf16 of each for every sum, twice the rate of f32 (AMD from
//! Zen 4 on; with AVX-512 units for f32 on both ports, as some of Intel's have, there is no such
//! gain). Sums are f32. Processors without those round the gradient to whole numbers of 16 bits, by a
//! scale for each row or column: `vpmaddwd` multiplies two of them for every sum, which is a whole
//! number of 32 bits within a block, and exact.

#![allow(unsafe_code, reason = "outputs that are written here first, by several threads")]

#[cfg(test)]
mod tests;

use std::{mem::MaybeUninit, ops::Range};

use super::{
    operands::{Columns, Panels, Rows, block_depth},
    tile::{COLUMNS_PER_PANEL, ROWS_PER_TILE, Tile},
    word::Word,
};
use crate::cpu::{parallel::par_map, uninit::UninitChunk};

/// Rows and columns of a transposed product that are computed by one task.
const TASK_SHAPE: [usize; 2] = [16 * ROWS_PER_TILE, 16 * COLUMNS_PER_PANEL];

/// Writes `left · right` to `out`, `[rows, columns]`, and returns it.
///
/// # Panics
/// If the inner dimensions or the length of `out` do not fit, or if the processor has no products of
/// such words.
pub(crate) fn product<'a, W: Word>(
    left: &Rows<W>,
    right: &Panels<W>,
    out: UninitChunk<'a, f32>,
) -> &'a mut [f32] {
    assert!(left.inner == right.inner && left.inner > 0, "inner dimensions");
    assert_eq!(out.len(), left.rows * right.columns, "output");
    let write = |out: &mut [MaybeUninit<f32>]| {
        // SAFETY: `out` has all rows and columns.
        unsafe {
            let out = out.as_mut_ptr().cast();
            write_part(left, 0..left.rows, right, 0..right.columns, out, right.columns);
        }
    };
    // SAFETY: all rows and columns are written, as there is something to add up.
    let out = unsafe { out.written(write) };
    for (row, scale) in out.chunks_exact_mut(right.columns.max(1)).zip(&left.scales) {
        row.iter_mut().for_each(|y| *y *= scale);
    }
    out
}

/// `left · right` as matrices side by side, of so many columns each: whole panels, but for the
/// last one.
///
/// # Panics
/// If the inner dimensions or the columns do not fit, or if the processor has no products of such
/// words.
pub(crate) fn transposed_product<W: Word>(
    left: &Columns<W>,
    right: &Panels<W>,
    widths: &[usize],
) -> Vec<Vec<f32>> {
    assert_eq!(left.inner, right.inner, "inner dimensions");
    assert_eq!(widths.iter().sum::<usize>(), right.columns, "columns");
    let mut outs: Vec<Vec<f32>> =
        widths.iter().map(|width| Vec::with_capacity(left.rows * width)).collect();
    let mut tasks = Vec::new();
    let mut before = 0;
    for (out, &width) in outs.iter_mut().zip(widths) {
        assert!(before % COLUMNS_PER_PANEL == 0, "matrices begin with a panel");
        let out = Place(out.as_mut_ptr());
        for column in (0..width).step_by(TASK_SHAPE[1]) {
            let columns = column..width.min(column + TASK_SHAPE[1]);
            for row in (0..left.rows).step_by(TASK_SHAPE[0]) {
                let rows = row..left.rows.min(row + TASK_SHAPE[0]);
                tasks.push((rows, columns.clone(), before, width, out));
            }
        }
        before += width;
    }
    par_map(left.rows * right.columns * left.inner / 64, tasks, |_, task| {
        let (rows, columns, before, width, Place(out)) = task;
        // SAFETY: each task writes its own rows and columns of an allocation that has them all.
        unsafe {
            let out = out.add(rows.start * width + columns.start);
            let columns = before + columns.start..before + columns.end;
            write_part(left, rows.clone(), right, columns.clone(), out, width);
            if let Some(scales) = &right.scales {
                scale_columns(out, rows.len(), width, &scales[columns]);
            }
        }
    });
    for (out, width) in outs.iter_mut().zip(widths) {
        // SAFETY: the tasks cover all rows and columns, and have written them, as there is
        // something to add up; otherwise there are no rows or columns.
        unsafe { out.set_len(left.rows * width) };
    }
    outs
}

/// Multiplies the columns of rows that begin every `stride` elements.
///
/// # Safety
/// `out` is valid for reads and writes of that size.
unsafe fn scale_columns(out: *mut f32, rows: usize, stride: usize, scales: &[f32]) {
    for row in 0..rows {
        // SAFETY: a row, of which no other reference is held.
        let row = unsafe { std::slice::from_raw_parts_mut(out.add(row * stride), scales.len()) };
        row.iter_mut().zip(scales).for_each(|(y, scale)| *y *= scale);
    }
}

/// Where a matrix is written by several threads.
#[derive(Clone, Copy)]
struct Place(*mut f32);

// SAFETY: the tasks that have it write different elements.
unsafe impl Send for Place {}

/// A left operand.
trait Left<W> {
    /// Words from one row to the next, of the same block and group.
    const ROW_STRIDE: usize;
    /// Words from one word of the inner dimension to the next.
    const WORD_STRIDE: usize;

    /// The words from a row on, of the block of this depth that begins with the word `start`.
    fn from(&self, row: usize, start: usize, depth: usize) -> &[W];

    /// Words of the inner dimension.
    fn inner(&self) -> usize;
}

impl<W: Word> Left<W> for Rows<W> {
    const ROW_STRIDE: usize = block_depth::<W>();
    const WORD_STRIDE: usize = 1;

    fn from(&self, row: usize, start: usize, _: usize) -> &[W] {
        &self.words[start * self.rows + row * Self::ROW_STRIDE..]
    }

    fn inner(&self) -> usize {
        self.inner
    }
}

impl<W: Word> Left<W> for Columns<W> {
    const ROW_STRIDE: usize = 1;
    const WORD_STRIDE: usize = ROWS_PER_TILE;

    fn from(&self, row: usize, start: usize, depth: usize) -> &[W] {
        let group = row / ROWS_PER_TILE * ROWS_PER_TILE;
        let height = self.rows.next_multiple_of(ROWS_PER_TILE);
        &self.words[start * height + group * depth + row % ROWS_PER_TILE..]
    }

    fn inner(&self) -> usize {
        self.inner
    }
}

/// Writes some rows and columns of `left · right` to `out`, whose rows begin every `stride`
/// elements. Ranges begin with a multiple of [`ROWS_PER_TILE`] and of [`COLUMNS_PER_PANEL`].
///
/// # Safety
/// `out` is valid for writes of that size.
unsafe fn write_part<W: Word, L: Left<W>>(
    left: &L,
    rows: Range<usize>,
    right: &Panels<W>,
    columns: Range<usize>,
    out: *mut f32,
    stride: usize,
) {
    let kernel = W::kernel();
    let width = right.columns.next_multiple_of(COLUMNS_PER_PANEL);
    for start in (0..left.inner()).step_by(block_depth::<W>()) {
        let depth = block_depth::<W>().min(left.inner() - start);
        for column in columns.clone().step_by(kernel.columns) {
            for row in rows.clone().step_by(ROWS_PER_TILE) {
                let tile = Tile {
                    left: left.from(row, start, depth),
                    row_stride: L::ROW_STRIDE,
                    word_stride: L::WORD_STRIDE,
                    rows: ROWS_PER_TILE.min(rows.end - row),
                    right: &right.words[start * width + column * depth..],
                    panel_stride: COLUMNS_PER_PANEL * depth,
                    right_stride: COLUMNS_PER_PANEL,
                    columns: kernel.columns.min(columns.end - column),
                    depth,
                };
                // SAFETY: row and column are in the ranges, for which there is room; the blocks
                // before have written what is added to.
                unsafe {
                    let out = out.add((row - rows.start) * stride + column - columns.start);
                    kernel.compute(&tile, out, stride, start > 0);
                }
            }
        }
    }
}
