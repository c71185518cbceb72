//! What operands of products are made of: values in 32 bits, or pairs of them in bfloat16 or as
//! whole numbers of 16 bits.

use std::fmt;

use super::{
    tile::{COLUMNS_PER_PANEL, Kernel, ROWS_PER_TILE},
    tile_kernels,
};
use crate::cpu::vectorized;

/// An element of an operand: some values that follow one another along the inner dimension. An
/// `f32` is one in full precision, a `u32` two in bf16, an `i32` two whole numbers of 16 bits, the
/// first in the lower half.
pub(crate) trait Word: bytemuck::Pod + Default + fmt::Debug + Send + Sync {
    /// Values in a word.
    const VALUES: usize;

    /// The largest magnitude of a value, where values are whole numbers: what is rounded to them is
    /// brought into this range first, by a factor for each row or column.
    const LARGEST: Option<f32>;

    /// A value in a word.
    type Value: bytemuck::Pod + Default;

    /// What multiplies such words.
    ///
    /// # Panics
    /// If this processor has nothing that does.
    fn kernel() -> Kernel<Self>;

    /// Rounds values by a factor, with which they are at most [`LARGEST`](Self::LARGEST).
    fn round(values: &[f32], factor: f32, to: &mut [Self::Value]);

    /// Writes words of [`Self::VALUES`] rows that follow one another, `width` values in each, to
    /// groups of [`ROWS_PER_TILE`] columns: `[groups, words, ROWS_PER_TILE]`. Rows begin every
    /// `stride` codes.
    fn transpose_codes(rows: &[i8], stride: usize, width: usize, block: &mut [Self]);

    /// As [`transpose_codes`](Self::transpose_codes), of values that are rounded, and at most
    /// [`LARGEST`](Self::LARGEST).
    fn transpose_values(rows: &[f32], width: usize, block: &mut [Self]);

    /// Writes words of [`Self::VALUES`] rows of as many values as there are `factors`, each row
    /// divided by its scale and, if values are whole numbers, each column multiplied by its factor,
    /// to panels: `[panels, words, COLUMNS_PER_PANEL]`, from the word `first` on.
    fn fill_panels(rows: &[f32], scales: &[f32], factors: &[f32], first: usize, block: &mut [Self]);
}

impl Word for f32 {
    const VALUES: usize = 1;
    const LARGEST: Option<f32> = None;
    type Value = f32;

    fn kernel() -> Kernel<f32> {
        tile_kernels::kernel_f32()
    }

    fn round(values: &[f32], factor: f32, to: &mut [f32]) {
        to.iter_mut().zip(values).for_each(|(to, x)| *to = x * factor);
    }

    fn transpose_codes(rows: &[i8], stride: usize, width: usize, block: &mut [f32]) {
        transpose_codes_f32(rows, stride, width, block);
    }

    fn transpose_values(rows: &[f32], width: usize, block: &mut [f32]) {
        transpose_f32(rows, width, block);
    }

    fn fill_panels(rows: &[f32], scales: &[f32], factors: &[f32], first: usize, block: &mut [f32]) {
        fill_panels_f32(rows, scales, factors, first, block);
    }
}

impl Word for u32 {
    const VALUES: usize = 2;
    const LARGEST: Option<f32> = None;
    type Value = u16;

    fn kernel() -> Kernel<u32> {
        tile_kernels::kernel_bf16()
    }

    fn round(values: &[f32], factor: f32, to: &mut [u16]) {
        round_scaled(values, factor, to);
    }

    fn transpose_codes(rows: &[i8], stride: usize, width: usize, block: &mut [u32]) {
        transpose_codes_bf16(rows, stride, width, block);
    }

    fn transpose_values(rows: &[f32], width: usize, block: &mut [u32]) {
        transpose_bf16(rows, width, block);
    }

    fn fill_panels(rows: &[f32], scales: &[f32], factors: &[f32], first: usize, block: &mut [u32]) {
        fill_panels_bf16(rows, scales, factors, first, block);
    }
}

impl Word for i32 {
    const VALUES: usize = 2;
    const LARGEST: Option<f32> = Some(i16::MAX as f32);
    type Value = i16;

    fn kernel() -> Kernel<i32> {
        tile_kernels::kernel_int16()
    }

    fn round(values: &[f32], factor: f32, to: &mut [i16]) {
        round_to_whole(values, factor, to);
    }

    fn transpose_codes(rows: &[i8], stride: usize, width: usize, block: &mut [i32]) {
        transpose_codes_int16(rows, stride, width, block);
    }

    fn transpose_values(rows: &[f32], width: usize, block: &mut [i32]) {
        transpose_int16(rows, width, block);
    }

    fn fill_panels(rows: &[f32], scales: &[f32], factors: &[f32], first: usize, block: &mut [i32]) {
        fill_panels_int16(rows, scales, factors, first, block);
    }
}

/// The nearest whole number, ties to even, of a value within 16 bits; zero for what is none.
#[inline(always)]
fn whole(x: f32) -> i32 {
    // The unit of numbers of this size is 1: the lower half of their bits is the whole number.
    const ONE_AND_A_HALF_TIMES_2_TO_23: f32 = 12_582_912.0;
    (x + ONE_AND_A_HALF_TIMES_2_TO_23).to_bits() as i32
}

#[inline(always)]
fn whole_pair(a: f32, b: f32) -> i32 {
    whole(a) & 0xFFFF | whole(b) << 16
}

/// The nearest bf16, ties to even, in the lower half of a word.
#[inline(always)]
pub(crate) fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    if x.is_nan() { 0x7FC0 } else { rounded }
}

vectorized! {
    fn round_scaled(values: &[f32], factor: f32, to: &mut [u16]) {
        for (to, x) in to.iter_mut().zip(values) {
            *to = round(x * factor) as u16;
        }
    }

    fn transpose_codes_bf16(codes: &[i8], stride: usize, width: usize, block: &mut [u32]) {
        // Codes are a bf16 already: nothing is rounded.
        let pair = |a: i8, b: i8| f32::from(a).to_bits() >> 16 | f32::from(b).to_bits() & !0xFFFF;
        transpose(codes, stride, width, block, pair);
    }

    fn transpose_codes_f32(codes: &[i8], stride: usize, width: usize, block: &mut [f32]) {
        transpose(codes, stride, width, block, |code, _| f32::from(code));
    }

    fn transpose_bf16(values: &[f32], width: usize, block: &mut [u32]) {
        transpose(values, width, width, block, |a, b| round(a) | round(b) << 16);
    }

    fn transpose_f32(values: &[f32], width: usize, block: &mut [f32]) {
        transpose(values, width, width, block, |value, _| value);
    }

    fn fill_panels_bf16(
        values: &[f32],
        scales: &[f32],
        factors: &[f32],
        first: usize,
        block: &mut [u32],
    ) {
        fill(values, scales, factors, first, block, |_, a, b| round(a) | round(b) << 16);
    }

    fn fill_panels_f32(
        values: &[f32],
        scales: &[f32],
        factors: &[f32],
        first: usize,
        block: &mut [f32],
    ) {
        fill(values, scales, factors, first, block, |_, value, _| value);
    }

    fn round_to_whole(values: &[f32], factor: f32, to: &mut [i16]) {
        for (to, x) in to.iter_mut().zip(values) {
            *to = whole(x * factor) as i16;
        }
    }

    fn transpose_codes_int16(codes: &[i8], stride: usize, width: usize, block: &mut [i32]) {
        let pair = |a: i8, b: i8| i32::from(a) & 0xFFFF | i32::from(b) << 16;
        transpose(codes, stride, width, block, pair);
    }

    fn transpose_int16(values: &[f32], width: usize, block: &mut [i32]) {
        transpose(values, width, width, block, whole_pair);
    }

    fn fill_panels_int16(
        values: &[f32],
        scales: &[f32],
        factors: &[f32],
        first: usize,
        block: &mut [i32],
    ) {
        fill(values, scales, factors, first, block, |factor, a, b| whole_pair(a * factor, b * factor));
    }
}

/// [`Word::transpose_codes`]; `word` makes one of the values of two rows, of which it may leave out
/// the second.
#[inline(always)]
fn transpose<T: Copy + Default, W: Word>(
    rows: &[T],
    stride: usize,
    width: usize,
    block: &mut [W],
    word: impl Fn(T, T) -> W,
) {
    let zeros = vec![T::default(); width];
    let nothing = vec![(); width];
    let depth = block.len() / width.next_multiple_of(ROWS_PER_TILE);
    for (at, rows) in rows.chunks(W::VALUES * stride).enumerate() {
        let first = &rows[..width];
        let second = rows.get(stride..stride + width).unwrap_or(&zeros);
        let word = |(), a, b| word(a, b);
        interleave::<ROWS_PER_TILE, T, (), W>([first, second], &nothing, [at, depth], block, word);
    }
}

/// [`Word::fill_panels`]; `word` makes one of a column's factor and the values of two rows.
#[inline(always)]
fn fill<W: Word>(
    rows: &[f32],
    scales: &[f32],
    factors: &[f32],
    first: usize,
    block: &mut [W],
    word: impl Fn(f32, f32, f32) -> W,
) {
    let columns = factors.len();
    let zeros = vec![0.0; columns];
    let depth = block.len() / columns.next_multiple_of(COLUMNS_PER_PANEL);
    let rows = rows.chunks(W::VALUES * columns).zip(scales.chunks(W::VALUES));
    for (at, (values, scales)) in rows.enumerate() {
        let (upper, lower) = values.split_at(columns);
        let lower = if lower.is_empty() { &zeros } else { lower };
        let of_rows = [1.0 / scales[0], scales.get(1).map_or(0.0, |scale| 1.0 / scale)];
        let word = |factor, a: f32, b: f32| word(factor, a * of_rows[0], b * of_rows[1]);
        let place = [first + at, depth];
        interleave::<COLUMNS_PER_PANEL, _, _, W>([upper, lower], factors, place, block, word);
    }
}

/// Writes two rows as words, as the word `at` of a block of `depth` words: `[columns / N, depth,
/// N]`. `word` makes one of what belongs to the column and the two values.
#[inline(always)]
fn interleave<const N: usize, T: Copy, F: Copy, W: Word>(
    [first, second]: [&[T]; 2],
    of_columns: &[F],
    [at, depth]: [usize; 2],
    block: &mut [W],
    word: impl Fn(F, T, T) -> W,
) {
    let columns = first.chunks(N).zip(second.chunks(N)).zip(of_columns.chunks(N));
    for (((first, second), of), words) in columns.zip(block.chunks_exact_mut(depth * N)) {
        let words = &mut words[at * N..][..N];
        match (first.first_chunk::<N>(), second.first_chunk::<N>(), of.first_chunk::<N>()) {
            (Some(first), Some(second), Some(of)) => {
                for i in 0..N {
                    words[i] = word(of[i], first[i], second[i]);
                }
            }
            _ => {
                let values = first.iter().zip(second).zip(of);
                for (to, ((&first, &second), &of)) in words.iter_mut().zip(values) {
                    *to = word(of, first, second);
                }
            }
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

    #[test]
    fn whole_numbers_are_the_nearest_ties_to_even() {
        for x in [0.5, 1.5, -0.5, -1.5, -2.5, 32_767.0, -32_767.0, 1234.49, -1234.51, 0.0] {
            let [mut to] = [0; 1];
            i32::round(&[x / 4.0], 4.0, std::slice::from_mut(&mut to));
            assert_eq!(f32::from(to), x.round_ties_even(), "{x}");
        }
        assert_eq!([f32::NAN, f32::INFINITY].map(|x| whole(x) as i16), [0; 2]);
        assert_eq!(whole_pair(-3.0, -5.0), -3 & 0xFFFF | -5 << 16);
    }
}
