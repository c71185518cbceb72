//! The range of values that are rounded to whole numbers.

use crate::cpu::{parallel::par_map, vectorized};

/// Rows whose columns one task looks at.
const ROWS_PER_TASK: usize = 256;

/// The largest magnitude of some values; not finite if one of them is not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range(f32);

impl Range {
    /// Of a row whose segments are multiplied by a factor each.
    pub(super) fn of_row(mut row: &[f32], segments: &[(usize, f32)]) -> Self {
        let mut highest = 0;
        for &(width, factor) in segments {
            let (values, rest) = row.split_at(width);
            highest = highest.max(highest_bits(values, factor));
            row = rest;
        }
        Self(f32::from_bits(highest))
    }

    /// What values are multiplied by to be at most `largest`; zero if there is none such.
    pub(super) fn factor(self, largest: f32) -> f32 {
        let factor = largest / self.0;
        if factor.is_finite() { factor } else { 0.0 }
    }

    /// What they are multiplied by after that to be themselves; not finite if they are not.
    pub(super) fn scale(self, largest: f32) -> f32 {
        self.0 / largest
    }
}

/// Factors that bring the columns of rows, each divided by its scale, to at most `largest`, and
/// scales that bring them back; without a largest value, columns are left as they are.
///
/// # Shapes
/// - `rows`: `[scales, columns]`
pub(crate) fn of_columns(
    largest: Option<f32>,
    rows: &[f32],
    scales: &[f32],
    columns: usize,
) -> (Vec<f32>, Option<Vec<f32>>) {
    let Some(largest) = largest else { return (vec![1.0; columns], None) };
    let pieces = rows.chunks((ROWS_PER_TASK * columns).max(1));
    let pieces = pieces.zip(scales.chunks(ROWS_PER_TASK)).collect();
    let of_pieces = par_map(rows.len() / 4, pieces, |_, (rows, scales)| {
        let mut highest = vec![0; columns];
        raise(&mut highest, rows, scales);
        highest
    });
    let mut highest = vec![0_u32; columns];
    for piece in of_pieces {
        highest.iter_mut().zip(piece).for_each(|(all, one)| *all = one.max(*all));
    }
    let ranges = || highest.iter().map(|&bits| Range(f32::from_bits(bits)));
    let factors = ranges().map(|range| range.factor(largest)).collect();
    (factors, Some(ranges().map(|range| range.scale(largest)).collect()))
}

/// The bits of a magnitude, which are in the order of magnitudes: then infinity, then what is no
/// number.
#[inline(always)]
fn magnitude_bits(x: f32) -> u32 {
    x.to_bits() & 0x7FFF_FFFF
}

vectorized! {
    fn highest_bits(values: &[f32], factor: f32) -> u32 {
        values.iter().fold(0, |highest, x| magnitude_bits(x * factor).max(highest))
    }

    fn raise(highest: &mut [u32], rows: &[f32], scales: &[f32]) {
        for (row, scale) in rows.chunks_exact(highest.len()).zip(scales) {
            let factor = 1.0 / scale;
            for (highest, x) in highest.iter_mut().zip(row) {
                *highest = magnitude_bits(x * factor).max(*highest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_brought_into_range_and_back() {
        let range = Range::of_row(&[1.0, -8.0, 3.0], &[(2, 0.5), (1, 2.0)]);
        assert_eq!(range.factor(12.0), 2.0);
        assert_eq!(range.scale(12.0), 0.5);
    }

    #[test]
    fn columns_are_brought_into_range_and_back() {
        let rows = [1.0, 0.0, -6.0, 0.0];
        let (factors, scales) = of_columns(Some(6.0), &rows, &[1.0, 2.0], 2);
        assert_eq!(factors, [2.0, 0.0]);
        assert_eq!(scales, Some(vec![0.5, 0.0]));
        assert_eq!(of_columns(None, &rows, &[1.0, 2.0], 2), (vec![1.0; 2], None));
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let range = Range::of_row(&[1.0, bad], &[(2, 1.0)]);
            assert_eq!(range.factor(100.0), 0.0);
            assert!(!range.scale(100.0).is_finite());
        }
    }
}
