//! Sums over all elements of a tensor or of several, by all threads.

use super::{float::sum, parallel::par_map, vectorized};

/// Elements that are one piece of work.
pub(crate) const ELEMENTS_PER_TASK: usize = 1 << 14;

/// The mean magnitude: infinite or NaN if an element is.
pub(crate) fn mean_magnitude(values: &[f32]) -> f32 {
    let pieces = values.chunks(ELEMENTS_PER_TASK).collect();
    let parts = par_map(values.len(), pieces, |_, piece| f64::from(magnitudes(piece)));
    (parts.into_iter().sum::<f64>() / values.len() as f64) as f32
}

/// The sum of the squares of all elements of some slices.
pub(crate) fn sum_of_squares<'a>(slices: impl Iterator<Item = &'a [f32]>) -> f64 {
    let pieces: Vec<_> = slices.flat_map(|slice| slice.chunks(ELEMENTS_PER_TASK)).collect();
    let elements = pieces.iter().map(|piece| piece.len()).sum();
    par_map(elements, pieces, |_, piece| f64::from(squares(piece))).into_iter().sum()
}

/// Multiplies all elements of some slices.
pub(crate) fn scale<'a>(slices: impl Iterator<Item = &'a mut [f32]>, factor: f32) {
    let pieces: Vec<_> = slices.flat_map(|slice| slice.chunks_mut(ELEMENTS_PER_TASK)).collect();
    let elements = pieces.iter().map(|piece| piece.len()).sum();
    par_map(elements, pieces, |_, piece| multiply(piece, factor));
}

vectorized! {
    fn squares(values: &[f32]) -> f32 {
        sum([values], |[x]| x * x)
    }
}

vectorized! {
    fn multiply(values: &mut [f32], factor: f32) {
        for value in values {
            *value *= factor;
        }
    }
}

vectorized! {
    fn magnitudes(values: &[f32]) -> f32 {
        sum([values], |[x]| x.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_elements_and_bad_ones() {
        let mut values: Vec<f32> =
            (0..3 * ELEMENTS_PER_TASK + 5).map(|i| (i % 7) as f32 - 3.0).collect();
        let expected: f64 = values.iter().map(|x| f64::from(x.abs())).sum();
        assert_eq!(mean_magnitude(&values), (expected / values.len() as f64) as f32);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            values[2 * ELEMENTS_PER_TASK] = bad;
            assert!(!mean_magnitude(&values).is_finite());
        }
    }
}
