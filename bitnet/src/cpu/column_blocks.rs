//! Parts of a matrix that several threads write.

#![allow(unsafe_code, reason = "columns of a matrix are not one slice")]

use std::marker::PhantomData;

/// Some rows of some columns, which nothing else reads or writes.
pub(crate) struct ColumnBlock<'a> {
    start: *mut f32,
    rows: usize,
    width: usize,
    stride: usize,
    of: PhantomData<&'a mut [f32]>,
}

// SAFETY: nothing else reads or writes its elements, as of a mutable slice, and `f32` is `Send`.
unsafe impl Send for ColumnBlock<'_> {}

impl ColumnBlock<'_> {
    /// A row.
    ///
    /// # Panics
    /// If there are not as many.
    pub(crate) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows);
        // SAFETY: the row is one of those that `column_blocks` has found to be in the matrix, and
        // `self` is borrowed for as long as it is used.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.width) }
    }
}

/// Splits a matrix into blocks of `rows` rows, and each of those into columns of these widths.
///
/// # Panics
/// If it is not made of whole blocks.
pub(crate) fn column_blocks<'a>(
    matrix: &'a mut [f32],
    rows: usize,
    widths: &[usize],
) -> Vec<Vec<ColumnBlock<'a>>> {
    let stride: usize = widths.iter().sum();
    let blocks = matrix.chunks_mut((rows * stride).max(1));
    blocks
        .map(|block| {
            assert_eq!(block.len(), rows * stride, "whole blocks");
            let start = block.as_mut_ptr();
            let mut before = 0;
            let column_block = |&width: &usize| {
                // SAFETY: the first row has as many columns.
                let start = unsafe { start.add(before) };
                before += width;
                ColumnBlock { start, rows, width, stride, of: PhantomData }
            };
            widths.iter().map(column_block).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_blocks_cover_the_matrix() {
        let mut matrix = vec![0.0; 2 * 3 * 7];
        for (b, block) in column_blocks(&mut matrix, 3, &[4, 0, 2, 1]).iter_mut().enumerate() {
            for (s, column_block) in block.iter_mut().enumerate() {
                for row in 0..3 {
                    column_block.row(row).fill((b * 100 + row * 10 + s) as f32);
                }
            }
        }
        for (row, values) in matrix.chunks_exact(7).enumerate() {
            let base = (row / 3 * 100 + row % 3 * 10) as f32;
            let expected = [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 3.0].map(|block| base + block);
            assert_eq!(values, expected);
        }
    }
}
