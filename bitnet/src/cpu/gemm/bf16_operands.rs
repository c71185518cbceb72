//! Operands of products in bfloat16: rounded, and in the order in which they are read.
//!
//! A word holds two values that follow one another along the inner dimension. Words lie in blocks
//! of [`PAIRS_PER_BLOCK`] pairs of that dimension, which are computed one after the other.

use crate::cpu::{
    float::FLOATS_PER_VECTOR,
    parallel::par_map,
    uninit::{Uninit, zeros},
    vectorized,
};

/// Columns of a panel: those of a vector of sums.
pub(crate) const COLUMNS_PER_PANEL: usize = FLOATS_PER_VECTOR;
/// Rows that are computed together.
pub(crate) const ROWS_PER_TILE: usize = 12;
/// Rows of a left operand that are rounded and multiplied at once.
pub(crate) const ROWS_PER_BAND: usize = 8 * ROWS_PER_TILE;
/// Pairs of the inner dimension that are added up at once: their part of two panels stays in the
/// first cache.
pub(crate) const PAIRS_PER_BLOCK: usize = 96;

/// Rows of a left operand, `[rows, inner]`, as `[blocks, rows, PAIRS_PER_BLOCK]`.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) words: Vec<u32>,
    pub(crate) rows: usize,
    pub(crate) pairs: usize,
    /// Of a row, in one piece.
    line: Vec<u32>,
}

impl Rows {
    /// Rounds rows of as many columns as the segments have together: each a number of columns, and
    /// a factor for them.
    pub(crate) fn fill(&mut self, values: &[f32], segments: &[(usize, f32)]) {
        let width: usize = segments.iter().map(|(width, _)| width).sum();
        self.rows = values.len() / width;
        self.pairs = width.div_ceil(2);
        self.line.clear();
        self.line.resize(self.pairs, 0);
        self.words.resize(self.rows * self.pairs.next_multiple_of(PAIRS_PER_BLOCK), 0);
        for (row, values) in values.chunks_exact(width).enumerate() {
            let halves: &mut [u16] = bytemuck::cast_slice_mut(&mut self.line);
            let (mut halves, mut values) = (halves, values);
            for &(width, factor) in segments {
                let (to, other_halves) = halves.split_at_mut(width);
                let (from, others) = values.split_at(width);
                round_scaled(from, factor, to);
                (halves, values) = (other_halves, others);
            }
            for (block, line) in self.line.chunks(PAIRS_PER_BLOCK).enumerate() {
                self.words[(block * self.rows + row) * PAIRS_PER_BLOCK..][..line.len()]
                    .copy_from_slice(line);
            }
        }
    }
}

/// The transposed left operand, given as rows of codes, `[tokens, width]`: as `[blocks, rows /
/// ROWS_PER_TILE, pairs, ROWS_PER_TILE]`, where the pairs of the last block are fewer.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) words: Vec<u32>,
    pub(crate) rows: usize,
    pub(crate) pairs: usize,
}

impl Columns {
    /// An uninitialised buffer for as many tokens of `width` codes, and the size of its pieces for
    /// [`fill_columns`].
    pub(crate) fn room(tokens: usize, width: usize) -> (Uninit<u32>, usize) {
        let height = width.next_multiple_of(ROWS_PER_TILE);
        (Uninit::new(height * tokens.div_ceil(2)), height * PAIRS_PER_BLOCK)
    }

    /// Rounds a matrix, `[tokens, width]`.
    pub(crate) fn round(values: &[f32], width: usize) -> Self {
        let tokens = values.len() / width;
        let (mut words, size) = Self::room(tokens, width);
        let pieces = words.chunks(size).zip(values.chunks(2 * PAIRS_PER_BLOCK * width)).collect();
        par_map(values.len(), pieces, |_, (block, values)| {
            round_columns(values, width, block.zeroed());
        });
        Self::new(words, tokens, width)
    }

    /// The operand, once all of its pieces are filled.
    pub(crate) fn new(words: Uninit<u32>, tokens: usize, width: usize) -> Self {
        Self { words: words.finish(), rows: width, pairs: tokens.div_ceil(2) }
    }
}

vectorized! {
    /// Fills a block of [`Columns`] with the codes of `2 · PAIRS_PER_BLOCK` tokens, or fewer at the
    /// end, that begin every `stride` bytes.
    pub(crate) fn fill_columns(codes: &[i8], stride: usize, width: usize, block: &mut [u32]) {
        fill_pairs(codes, stride, width, block, pair_of_codes);
    }
}

vectorized! {
    /// The same with values, which are rounded.
    pub(crate) fn round_columns(values: &[f32], width: usize, block: &mut [u32]) {
        fill_pairs(values, width, width, block, |a, b| round(a) | round(b) << 16);
    }
}

#[inline(always)]
fn fill_pairs<T: Copy + Default>(
    rows: &[T],
    stride: usize,
    width: usize,
    block: &mut [u32],
    word: impl Fn(T, T) -> u32,
) {
    let zeros = vec![T::default(); width];
    let depth = block.len() / width.next_multiple_of(ROWS_PER_TILE);
    for (pair, rows) in rows.chunks(2 * stride).enumerate() {
        let first = &rows[..width];
        let second = rows.get(stride..stride + width).unwrap_or(&zeros);
        interleave::<ROWS_PER_TILE, T>([first, second], [pair, depth], block, &word);
    }
}

/// Writes two rows as words, the first row in their lower halves, as the pair `pair` of a block of
/// `depth` pairs: `[columns / W, depth, W]`.
#[inline(always)]
fn interleave<const W: usize, T: Copy>(
    [first, second]: [&[T]; 2],
    [pair, depth]: [usize; 2],
    block: &mut [u32],
    word: impl Fn(T, T) -> u32,
) {
    let columns = first.chunks(W).zip(second.chunks(W));
    for ((first, second), words) in columns.zip(block.chunks_exact_mut(depth * W)) {
        let words = &mut words[pair * W..][..W];
        match (first.first_chunk::<W>(), second.first_chunk::<W>()) {
            (Some(first), Some(second)) => {
                for i in 0..W {
                    words[i] = word(first[i], second[i]);
                }
            }
            _ => {
                for ((to, &first), &second) in words.iter_mut().zip(first).zip(second) {
                    *to = word(first, second);
                }
            }
        }
    }
}

/// The right operand, `[inner, columns]`: words in panels, `[blocks, columns / 16, pairs, 16]`,
/// where the pairs of the last block are fewer.
#[derive(Debug)]
pub(crate) struct Panels {
    pub(crate) words: Vec<u32>,
    pub(crate) columns: usize,
    pub(crate) pairs: usize,
}

impl Panels {
    /// An uninitialised buffer for a matrix, and the size of its pieces for [`fill_panels`].
    pub(crate) fn room(inner: usize, columns: usize) -> (Uninit<u32>, usize) {
        let width = columns.next_multiple_of(COLUMNS_PER_PANEL);
        (Uninit::new(width * inner.div_ceil(2)), width * PAIRS_PER_BLOCK)
    }

    /// Rounds a matrix, `[inner, columns]`.
    pub(crate) fn round(values: &[f32], columns: usize) -> Self {
        let inner = values.len() / columns;
        let (mut words, size) = Self::room(inner, columns);
        let pieces = words.chunks(size).zip(values.chunks(2 * PAIRS_PER_BLOCK * columns)).collect();
        par_map(values.len(), pieces, |_, (block, values)| {
            fill_panels(values, columns, &[1.0; 2 * PAIRS_PER_BLOCK], 0, block.zeroed());
        });
        Self::new(words, inner, columns)
    }

    /// Rounds the transpose of a matrix, `[columns, inner]`.
    pub(crate) fn round_transposed(values: &[f32], inner: usize) -> Self {
        let round = |row: &[f32], to: &mut [u16]| round_scaled(row, 1.0, to);
        Self::transposed(values.len() / inner, &[(values, inner, round)])
    }

    /// The operand, once all of its pieces are filled.
    pub(crate) fn new(words: Uninit<u32>, inner: usize, columns: usize) -> Self {
        Self { words: words.finish(), columns, pairs: inner.div_ceil(2) }
    }

    /// A matrix whose transpose is given, `[columns, inner]`: side by side matrices of as many
    /// rows, each by its values, its number of columns, and a function that writes the values of a
    /// row, which bf16 has, as bf16.
    pub(crate) fn transposed<F>(columns: usize, matrices: &[(&[f32], usize, F)]) -> Self
    where
        F: Fn(&[f32], &mut [u16]) + Sync,
    {
        let inner: usize = matrices.iter().map(|(_, width, _)| width).sum();
        let pairs = inner.div_ceil(2);
        let width = columns.next_multiple_of(COLUMNS_PER_PANEL);
        let mut words = zeros(width * pairs);
        let mut panels: Vec<Vec<&mut [u32]>> = Vec::new();
        panels.resize_with(columns.div_ceil(COLUMNS_PER_PANEL), Vec::new);
        for block in words.chunks_mut((width * PAIRS_PER_BLOCK).max(1)) {
            let size = block.len() / panels.len();
            panels.iter_mut().zip(block.chunks_exact_mut(size)).for_each(|(all, p)| all.push(p));
        }
        par_map(inner * columns, panels, |panel, mut blocks| {
            let mut line = vec![0_u32; pairs];
            for lane in 0..COLUMNS_PER_PANEL.min(columns - panel * COLUMNS_PER_PANEL) {
                let mut halves: &mut [u16] = bytemuck::cast_slice_mut(&mut line);
                for (values, width, write) in matrices {
                    let row = &values[(panel * COLUMNS_PER_PANEL + lane) * width..][..*width];
                    let (to, others) = halves.split_at_mut(*width);
                    write(row, to);
                    halves = others;
                }
                for (block, line) in blocks.iter_mut().zip(line.chunks(PAIRS_PER_BLOCK)) {
                    let lanes = block.iter_mut().skip(lane).step_by(COLUMNS_PER_PANEL);
                    lanes.zip(line).for_each(|(word, value)| *word = *value);
                }
            }
        });
        Self { words, columns, pairs }
    }
}

vectorized! {
    /// Fills a block of [`Panels`], from the pair `at` on, with rows of `columns` values, each
    /// divided by its scale: an even number of them, but at the end.
    pub(crate) fn fill_panels(
        values: &[f32],
        columns: usize,
        scales: &[f32],
        at: usize,
        block: &mut [u32],
    ) {
        let zeros = vec![0.0; columns];
        let depth = block.len() / columns.next_multiple_of(COLUMNS_PER_PANEL);
        let rows = values.chunks(2 * columns).zip(scales.chunks(2));
        for (pair, (values, scales)) in rows.enumerate() {
            let (first, second) = values.split_at(columns);
            let second = if second.is_empty() { &zeros } else { second };
            let factors = [1.0 / scales[0], scales.get(1).map_or(0.0, |scale| 1.0 / scale)];
            let word = |a: f32, b: f32| round(a * factors[0]) | round(b * factors[1]) << 16;
            interleave::<COLUMNS_PER_PANEL, _>([first, second], [at + pair, depth], block, word);
        }
    }
}

/// Rounds an even number of values, two that follow one another to a word.
pub(crate) fn pairs_in_row(values: &[f32], words: &mut [u32]) {
    round_scaled(values, 1.0, bytemuck::cast_slice_mut(&mut words[..values.len() / 2]));
}

vectorized! {
    /// Rounds the first `used` values of rows of this width, those of two rows that follow one
    /// another to a row of words; beside a last row alone there are zeros.
    pub(crate) fn pairs_of_rows(values: &[f32], width: usize, used: usize, words: &mut [u32]) {
        for (rows, words) in values.chunks(2 * width).zip(words.chunks_exact_mut(width)) {
            let (first, second) = rows.split_at(width);
            let words = &mut words[..used];
            if second.is_empty() {
                words.iter_mut().zip(first).for_each(|(word, &x)| *word = round(x));
            }
            for ((word, &a), &b) in words.iter_mut().zip(first).zip(second) {
                *word = round(a) | round(b) << 16;
            }
        }
    }
}

/// The nearest bf16, ties to even, in the lower half of a word.
#[inline(always)]
pub(crate) fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    if x.is_nan() { 0x7FC0 } else { rounded }
}

/// The bf16 of a value that is one exactly.
#[inline(always)]
pub(crate) fn exact(x: f32) -> u16 {
    (x.to_bits() >> 16) as u16
}

#[inline(always)]
fn pair_of_codes(first: i8, second: i8) -> u32 {
    u32::from(exact(f32::from(first))) | u32::from(exact(f32::from(second))) << 16
}

vectorized! {
    fn round_scaled(values: &[f32], factor: f32, to: &mut [u16]) {
        for (to, x) in to.iter_mut().zip(values) {
            *to = round(x * factor) as u16;
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn rounding_is_to_the_nearest_even() {
        for bits in (0..=u32::MAX).step_by(997) {
            let x = f32::from_bits(bits);
            let expected = bf16::from_f32(x);
            let found = bf16::from_bits(round(x) as u16);
            assert!(found == expected || found.is_nan() && expected.is_nan(), "{x}");
        }
    }
}
