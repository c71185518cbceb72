//! Operands of products, in the order in which they are read.
//!
//! Their words ([`Word`]) lie in blocks of [`VALUES_PER_BLOCK`] values of the inner dimension, which
//! are computed one after the other.

use super::{
    range::{self, Range},
    tile::{COLUMNS_PER_PANEL, ROWS_PER_TILE},
    word::Word,
};
use crate::cpu::{
    parallel::par_map,
    uninit::{Uninit, zeros},
};

/// Rows of a left operand that are rounded and multiplied at once.
pub(crate) const ROWS_PER_BAND: usize = 8 * ROWS_PER_TILE;
/// Values of the inner dimension that are added up at once: their part of a tile's operands stays in
/// the first cache.
pub(crate) const VALUES_PER_BLOCK: usize = 192;
// Of 16-bit values and 8-bit codes, a block's sums are 32-bit integers.
const _: () = assert!(VALUES_PER_BLOCK as i64 * i16::MAX as i64 * 128 <= i32::MAX as i64);

/// Words of a whole block.
pub(super) const fn block_depth<W: Word>() -> usize {
    VALUES_PER_BLOCK / W::VALUES
}

/// Room for `inner` rows of `width` values in whole groups of `lanes`, and the size of a block.
fn room<W: Word>(inner: usize, width: usize, lanes: usize) -> (Uninit<W>, usize) {
    let width = width.next_multiple_of(lanes);
    (Uninit::new(width * inner.div_ceil(W::VALUES)), width * block_depth::<W>())
}

/// The words of a matrix, `[inner, width]`: `fill` takes the values of a block.
fn filled<W: Word>(
    values: &[f32],
    width: usize,
    lanes: usize,
    fill: impl Fn(&[f32], &mut [W]) + Sync,
) -> Uninit<W> {
    let (mut words, size) = room(values.len() / width, width, lanes);
    let pieces = words.chunks(size).zip(values.chunks(VALUES_PER_BLOCK * width)).collect();
    par_map(values.len(), pieces, |_, (block, values)| fill(values, block.zeroed()));
    words
}

/// Rows of a left operand, `[rows, inner]`, as `[blocks, rows, depth of a block]`.
#[derive(Debug, Default)]
pub(crate) struct Rows<W> {
    pub(super) words: Vec<W>,
    pub(super) rows: usize,
    /// Words of the inner dimension.
    pub(super) inner: usize,
    /// What rows are multiplied by to be values, if they are whole numbers.
    pub(super) scales: Vec<f32>,
    /// Of a row, in one piece.
    line: Vec<W>,
}

impl<W: Word> Rows<W> {
    /// Takes rows of as many columns as the segments have together: each a number of columns, and
    /// a factor for them.
    pub(crate) fn fill(&mut self, values: &[f32], segments: &[(usize, f32)]) {
        let width: usize = segments.iter().map(|(width, _)| width).sum();
        let depth = block_depth::<W>();
        self.rows = values.len() / width;
        self.inner = width.div_ceil(W::VALUES);
        self.line.clear();
        self.line.resize(self.inner, W::default());
        self.words.resize(self.rows * self.inner.next_multiple_of(depth), W::default());
        self.scales.clear();
        for (row, mut values) in values.chunks_exact(width).enumerate() {
            let mut of_row = 1.0;
            if let Some(largest) = W::LARGEST {
                let range = Range::of_row(values, segments);
                self.scales.push(range.scale(largest));
                of_row = range.factor(largest);
            }
            let mut line: &mut [W::Value] = bytemuck::cast_slice_mut(&mut self.line);
            for &(width, factor) in segments {
                let (to, others) = line.split_at_mut(width);
                let (from, other_values) = values.split_at(width);
                W::round(from, factor * of_row, to);
                (line, values) = (others, other_values);
            }
            for (block, line) in self.line.chunks(depth).enumerate() {
                let at = (block * self.rows + row) * depth;
                self.words[at..at + line.len()].copy_from_slice(line);
            }
        }
    }
}

/// A transposed left operand, given as `[inner, width]`: as `[blocks, groups, depth,
/// ROWS_PER_TILE]`, where the last block may be less deep.
#[derive(Debug)]
pub(crate) struct Columns<W> {
    pub(super) words: Vec<W>,
    pub(super) rows: usize,
    /// Words of the inner dimension.
    pub(super) inner: usize,
}

impl<W: Word> Columns<W> {
    /// Room for `inner` rows of `width` values, and the size of a block, which
    /// [`Word::transpose_codes`] fills.
    pub(crate) fn room(inner: usize, width: usize) -> (Uninit<W>, usize) {
        room(inner, width, ROWS_PER_TILE)
    }

    /// Takes a matrix, `[inner, width]`.
    pub(crate) fn round(values: &[f32], width: usize) -> Self {
        let transpose = |values: &[f32], block: &mut [W]| W::transpose_values(values, width, block);
        let words = filled(values, width, ROWS_PER_TILE, transpose);
        Self::new(words, values.len() / width, width)
    }

    /// What has been filled.
    pub(crate) fn new(words: Uninit<W>, inner: usize, width: usize) -> Self {
        Self { words: words.finish(), rows: width, inner: inner.div_ceil(W::VALUES) }
    }
}

/// A right operand, `[inner, columns]`, in panels: `[blocks, panels, depth, COLUMNS_PER_PANEL]`,
/// where the last block may be less deep.
#[derive(Debug)]
pub(crate) struct Panels<W> {
    pub(super) words: Vec<W>,
    pub(crate) columns: usize,
    /// Words of the inner dimension.
    pub(super) inner: usize,
    /// What columns are multiplied by to be values, if they have been brought into a range.
    pub(super) scales: Option<Vec<f32>>,
}

impl<W: Word> Panels<W> {
    /// Room for a matrix, and the size of a block, which [`Word::fill_panels`] fills.
    pub(crate) fn room(inner: usize, columns: usize) -> (Uninit<W>, usize) {
        room(inner, columns, COLUMNS_PER_PANEL)
    }

    /// Takes a matrix, `[inner, columns]`.
    pub(crate) fn round(values: &[f32], columns: usize) -> Self {
        let rows = vec![1.0; values.len() / columns];
        let (factors, scales) = range::of_columns(W::LARGEST, values, &rows, columns);
        let fill = |values: &[f32], block: &mut [W]| {
            W::fill_panels(values, &[1.0; VALUES_PER_BLOCK], &factors, 0, block);
        };
        let words = filled(values, columns, COLUMNS_PER_PANEL, fill);
        Self::new(words, rows.len(), columns, scales)
    }

    /// Takes the transpose of a matrix, `[columns, inner]`.
    pub(crate) fn round_transposed(values: &[f32], inner: usize) -> Self {
        let round = |row: &[f32], to: &mut [W::Value]| W::round(row, 1.0, to);
        Self::transposed(values.len() / inner, &[(values, inner, round)])
    }

    /// What has been filled, and what its columns are multiplied by to be values.
    pub(crate) fn new(
        words: Uninit<W>,
        inner: usize,
        columns: usize,
        scales: Option<Vec<f32>>,
    ) -> Self {
        Self { words: words.finish(), columns, inner: inner.div_ceil(W::VALUES), scales }
    }

    /// A matrix whose transpose is given, `[columns, inner]`: side by side matrices of as many
    /// rows, each by its values, its number of columns, and a function that writes the values of a
    /// row.
    pub(crate) fn transposed<F>(columns: usize, matrices: &[(&[f32], usize, F)]) -> Self
    where
        F: Fn(&[f32], &mut [W::Value]) + Sync,
    {
        let values: usize = matrices.iter().map(|(_, width, _)| width).sum();
        let inner = values.div_ceil(W::VALUES);
        let depth = block_depth::<W>();
        let width = columns.next_multiple_of(COLUMNS_PER_PANEL);
        let mut words = zeros(width * inner);
        let mut panels: Vec<Vec<&mut [W]>> = Vec::new();
        panels.resize_with(columns.div_ceil(COLUMNS_PER_PANEL), Vec::new);
        for block in words.chunks_mut((width * depth).max(1)) {
            let size = block.len() / panels.len();
            panels.iter_mut().zip(block.chunks_exact_mut(size)).for_each(|(all, p)| all.push(p));
        }
        par_map(values * columns, panels, |panel, mut blocks| {
            let mut line = vec![W::default(); inner];
            for lane in 0..COLUMNS_PER_PANEL.min(columns - panel * COLUMNS_PER_PANEL) {
                let mut rest: &mut [W::Value] = bytemuck::cast_slice_mut(&mut line);
                for (values, width, write) in matrices {
                    let row = &values[(panel * COLUMNS_PER_PANEL + lane) * width..][..*width];
                    let (to, others) = rest.split_at_mut(*width);
                    write(row, to);
                    rest = others;
                }
                for (block, line) in blocks.iter_mut().zip(line.chunks(depth)) {
                    let lanes = block.iter_mut().skip(lane).step_by(COLUMNS_PER_PANEL);
                    lanes.zip(line).for_each(|(word, value)| *word = *value);
                }
            }
        });
        Self { words, columns, inner, scales: None }
    }
}
