//! Work that is shared among the threads of rayon's pool. In how many pieces it is cut does not
//! depend on their number, and so neither do sums over pieces.

use rayon::prelude::*;

/// Elements below which a second thread costs more than it brings.
const MIN_PARALLEL_ELEMENTS: usize = 1 << 16;

/// Rows that are one piece of work. Fixed, so that sums over pieces do not depend on the number
/// of threads.
const ROWS_PER_TASK: usize = 64;

/// Computes `N` matrices of equally many rows (the last row may be shorter), piece by piece:
/// `compute` gets the number of the piece's first row, and the piece of each matrix, and returns a
/// result each.
///
/// `work` is the number of elements that the whole touches.
pub(crate) fn for_row_blocks<const N: usize, R: Send>(
    work: usize,
    rows: usize,
    matrices: [(&mut [f32], usize); N],
    compute: impl Fn(usize, [&mut [f32]; N]) -> R + Sync,
) -> Vec<R> {
    let pieces = rows.div_ceil(ROWS_PER_TASK);
    let mut split: Vec<[&mut [f32]; N]> = Vec::with_capacity(pieces);
    let mut rest = matrices;
    for piece in 0..pieces {
        let rows = ROWS_PER_TASK.min(rows - piece * ROWS_PER_TASK);
        split.push(rest.each_mut().map(|(matrix, width)| {
            let first = std::mem::take(matrix);
            let (first, others) = first.split_at_mut((rows * *width).min(first.len()));
            *matrix = others;
            first
        }));
    }
    par_map(work, split, |piece, matrices| compute(piece * ROWS_PER_TASK, matrices))
}

/// Does pieces of work, each given its number, and returns their results in order: by all threads
/// if together they touch enough elements.
pub(crate) fn par_map<T: Send, R: Send>(
    work: usize,
    pieces: Vec<T>,
    compute: impl Fn(usize, T) -> R + Sync,
) -> Vec<R> {
    let compute = |(index, piece)| compute(index, piece);
    if work < MIN_PARALLEL_ELEMENTS || rayon::current_num_threads() == 1 {
        pieces.into_iter().enumerate().map(compute).collect()
    } else {
        pieces.into_par_iter().enumerate().map(compute).collect()
    }
}

/// Adds rows of partial sums.
pub(crate) fn sum_rows(partial: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    for partial in partial {
        for (total, partial) in total.iter_mut().zip(partial) {
            *total += partial;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_every_row_once_in_order() {
        for rows in [0, 1, ROWS_PER_TASK - 1, ROWS_PER_TASK, 3 * ROWS_PER_TASK + 5] {
            let mut matrix = vec![-1.0; rows * 2];
            let first = for_row_blocks(1 << 20, rows, [(&mut matrix, 2)], |first, [piece]| {
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
