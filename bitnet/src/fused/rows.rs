//! Loops over the rows of matrices: shared out over threads, and what their bodies need.
//!
//! The bodies are functions of their own, compiled for several generations of vector units
//! (`multiversion`): what they call has to be inlined to take part in that.

use rayon::prelude::*;

/// Elements below which a second thread costs more than it brings.
const WORTH_SHARING: usize = 1 << 16;

/// Rows that are one piece of work. Fixed, so that sums over pieces do not depend on the number
/// of threads.
const PIECE: usize = 64;

/// Computes `N` matrices of equally many rows (the last row may be shorter), piece by piece:
/// `compute` gets the number of the piece's first row, and the piece of each matrix, and gives a
/// result each.
///
/// `work` is the number of elements that the whole touches.
pub(super) fn for_pieces<const N: usize, R: Send>(
    work: usize,
    rows: usize,
    matrices: [(&mut [f32], usize); N],
    compute: impl Fn(usize, [&mut [f32]; N]) -> R + Sync,
) -> Vec<R> {
    let pieces = rows.div_ceil(PIECE);
    let mut split: Vec<[&mut [f32]; N]> = Vec::with_capacity(pieces);
    let mut rest = matrices;
    for piece in 0..pieces {
        let rows = PIECE.min(rows - piece * PIECE);
        split.push(rest.each_mut().map(|(matrix, width)| {
            let first = std::mem::take(matrix);
            let (first, others) = first.split_at_mut((rows * *width).min(first.len()));
            *matrix = others;
            first
        }));
    }
    let compute = |(piece, matrices)| compute(piece * PIECE, matrices);
    if work < WORTH_SHARING || rayon::current_num_threads() == 1 {
        split.into_iter().enumerate().map(compute).collect()
    } else {
        split.into_par_iter().enumerate().map(compute).collect()
    }
}

/// Lanes of a sum: additions in a fixed order that vector units can carry out.
const LANES: usize = 16;

/// `Σ f(i)` for `i` in `0 .. len`.
#[inline(always)]
pub(super) fn sum(len: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    let rest: f32 = (whole..len).map(&f).sum();
    lanes.iter().sum::<f32>() + rest
}

/// The largest value that is a number; −∞ if there is none.
#[inline(always)]
pub(super) fn maximum(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in values.chunks(LANES) {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Adds rows of partial sums.
pub(super) fn add_up(partial: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    for partial in partial {
        for (total, partial) in total.iter_mut().zip(partial) {
            *total += partial;
        }
    }
    total
}

/// `e^x` within 2 ulp for `x ≤ 88`, and 0 below −87: without calls, so that loops of it vectorise.
///
/// `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2`; the series of `e^r` to the seventh power.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let within = x.clamp(-88.0, 88.0);
    let n = (within * std::f32::consts::LOG2_E).round_ties_even();
    let r = (within - n * LN2_HI) - n * LN2_LO;
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
    let value = if x < -87.0 { 0.0 } else { p * power };
    if x.is_nan() { x } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_that_of_the_standard_library_within_two_ulp() {
        for i in -870_000..=880_000 {
            let x = i as f32 * 1e-4;
            let (ours, theirs) = (exp(x), f64::from(x).exp() as f32);
            let ulps = i64::from(ours.to_bits()) - i64::from(theirs.to_bits());
            assert!(ulps.abs() <= 2, "exp({x}) = {ours:e}, not {theirs:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn pieces_cover_every_row_once_in_order() {
        for rows in [0, 1, PIECE - 1, PIECE, 3 * PIECE + 5] {
            let mut matrix = vec![-1.0; rows * 2];
            let first = for_pieces(1 << 20, rows, [(&mut matrix, 2)], |first, [piece]| {
                for (i, row) in piece.chunks_exact_mut(2).enumerate() {
                    row.fill((first + i) as f32);
                }
                first
            });
            assert!(first.is_sorted());
            assert!(matrix.iter().enumerate().all(|(i, &value)| value == (i / 2) as f32));
        }
    }
}
