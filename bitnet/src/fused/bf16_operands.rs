//! Operands of products in bfloat16: rounded, and in the order in which they are read.

use multiversion::multiversion;

use super::int8_gemm::{Codes, QUAD};

/// Columns of a panel.
pub(super) const LANES: usize = 16;
/// Rows that are computed together.
pub(super) const ROWS: usize = 12;

/// The left operand, `[rows, inner]`: words of two values that follow one another along the inner
/// dimension.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) words: Vec<u32>,
    pub(super) rows: usize,
    pub(super) pairs: usize,
    pub(super) order: Order,
}

/// How the words of a [`Left`] lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// `[rows, pairs]`.
    Rows,
    /// `[rows / ROWS, pairs, ROWS]`.
    Blocks,
}

impl Left {
    /// A matrix of `width` columns.
    pub(super) fn of_rows(values: &[f32], width: usize) -> Self {
        let rows = values.len() / width;
        let pairs = width.div_ceil(2);
        let mut words = vec![0; rows * pairs];
        for (values, words) in values.chunks_exact(width).zip(words.chunks_exact_mut(pairs)) {
            round_row(values, words);
        }
        Self { words, rows, pairs, order: Order::Rows }
    }

    /// The transposed matrix of codes `[tokens, width]`.
    pub(super) fn of_codes_transposed(x: &Codes, width: usize) -> Self {
        let stride = x.words * QUAD;
        let tokens = x.scales.len();
        let pairs = tokens.div_ceil(2);
        let mut words = vec![0; width.next_multiple_of(ROWS) * pairs];
        let mut row = vec![0; width];
        let zeros = vec![0; width];
        for pair in 0..pairs {
            let codes = |token: usize| match token < tokens {
                true => &x.codes[token * stride..][..width],
                false => &zeros,
            };
            pair_codes(codes(2 * pair), codes(2 * pair + 1), &mut row);
            for (block, row) in row.chunks(ROWS).enumerate() {
                words[(block * pairs + pair) * ROWS..][..row.len()].copy_from_slice(row);
            }
        }
        Self { words, rows: width, pairs, order: Order::Blocks }
    }
}

/// The right operand, `[inner, columns]`: words of two values that follow one another along the
/// inner dimension, in panels `[columns / 16, pairs, 16]`.
#[derive(Debug)]
pub(super) struct Right {
    pub(super) words: Vec<u32>,
    pub(super) columns: usize,
    pub(super) pairs: usize,
}

impl Right {
    /// The transposed matrix of what `round` gives of `[columns, inner]`: a row of values as
    /// words, as [`round_row`] makes them.
    pub(super) fn transposed(
        values: &[f32],
        inner: usize,
        round: impl Fn(&[f32], &mut [u32]),
    ) -> Self {
        let columns = values.len() / inner;
        let pairs = inner.div_ceil(2);
        let mut words = vec![0; columns.next_multiple_of(LANES) * pairs];
        let mut row = vec![0; pairs];
        for (column, values) in values.chunks_exact(inner).enumerate() {
            round(values, &mut row);
            let panel = &mut words[column / LANES * LANES * pairs..];
            let lane = panel.iter_mut().skip(column % LANES).step_by(LANES);
            lane.zip(&row).for_each(|(word, value)| *word = *value);
        }
        Self { words, columns, pairs }
    }

    /// A matrix `[scales, columns]`, each row divided by its scale.
    pub(super) fn scaled(values: &[f32], columns: usize, scales: &[f32]) -> Self {
        let pairs = scales.len().div_ceil(2);
        let mut words = vec![0; columns.next_multiple_of(LANES) * pairs];
        let mut row = vec![0; columns];
        let zeros = vec![0.0; columns];
        for (pair, scales) in scales.chunks(2).enumerate() {
            let mut rows = values[2 * pair * columns..].chunks_exact(columns);
            let first = rows.next().unwrap_or(&zeros);
            let second = rows.next().filter(|_| scales.len() == 2).unwrap_or(&zeros);
            let factors = [1.0 / scales[0], scales.get(1).map_or(0.0, |scale| 1.0 / scale)];
            pair_rows(first, second, factors, &mut row);
            for (panel, row) in row.chunks(LANES).enumerate() {
                words[(panel * pairs + pair) * LANES..][..row.len()].copy_from_slice(row);
            }
        }
        Self { words, columns, pairs }
    }
}

/// The nearest bf16, ties to even, in the lower half of a word.
#[inline(always)]
fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    if x.is_nan() { 0x7FC0 } else { rounded }
}

/// What is a bf16 already.
#[inline(always)]
fn exact(x: f32) -> u32 {
    x.to_bits() >> 16
}

/// The values of `f` for a row, two a word; a last one alone has a zero beside it.
#[inline(always)]
pub(super) fn words_of_row(values: &[f32], words: &mut [u32], f: impl Fn(f32) -> f32) {
    let mut pairs = values.chunks_exact(2);
    for (word, pair) in words.iter_mut().zip(&mut pairs) {
        *word = exact(f(pair[0])) | exact(f(pair[1])) << 16;
    }
    if let [last] = pairs.remainder() {
        words[values.len() / 2] = exact(f(*last));
    }
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn round_row(values: &[f32], words: &mut [u32]) {
    words_of_row(values, words, |x| f32::from_bits(round(x) << 16));
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn pair_codes(first: &[i8], second: &[i8], words: &mut [u32]) {
    for ((word, &first), &second) in words.iter_mut().zip(first).zip(second) {
        *word = exact(f32::from(first)) | exact(f32::from(second)) << 16;
    }
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn pair_rows(first: &[f32], second: &[f32], factors: [f32; 2], words: &mut [u32]) {
    for ((word, first), second) in words.iter_mut().zip(first).zip(second) {
        *word = round(first * factors[0]) | round(second * factors[1]) << 16;
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
