#![allow(unsafe_code, reason = "outputs are written through pointers")]

use crate::cpu::gemm::tile::{COLUMNS_PER_PANEL, Kernel, Output, Tile};

/// Rows whose sums are in registers together.
const ROWS: usize = 4;

/// For any processor.
pub(super) const KERNEL: Kernel<f32> = Kernel { columns: COLUMNS_PER_PANEL, compute };

/// # Safety
/// As of [`Kernel::compute`], which has checked the operands.
unsafe fn compute(tile: &Tile<'_, f32>, out: Output) {
    for row in (0..tile.rows).step_by(ROWS) {
        let rows = ROWS.min(tile.rows - row);
        let mut sums = [[0.0; COLUMNS_PER_PANEL]; ROWS];
        if rows == ROWS && tile.columns == COLUMNS_PER_PANEL {
            sums = add_up::<ROWS, true>(tile, row);
        } else {
            for (r, sums) in sums.iter_mut().enumerate().take(rows) {
                [*sums] = add_up::<1, false>(tile, row + r);
            }
        }
        for (r, sums) in sums.iter().enumerate().take(rows) {
            for (column, &sum) in sums.iter().enumerate().take(tile.columns) {
                // SAFETY: a row and a column of the tile, for which there is room.
                unsafe {
                    let to = out.to.add((row + r) * out.stride + column);
                    *to = if out.add { *to + sum } else { sum };
                }
            }
        }
    }
}

/// The sums of some rows. With both numbers known to the compiler they stay in registers.
#[inline(always)]
fn add_up<const R: usize, const WHOLE: bool>(
    tile: &Tile<'_, f32>,
    row: usize,
) -> [[f32; COLUMNS_PER_PANEL]; R] {
    let mut sums = [[0.0_f32; COLUMNS_PER_PANEL]; R];
    for k in 0..tile.depth {
        let from = &tile.right[k * tile.right_stride..];
        let mut right = [0.0; COLUMNS_PER_PANEL];
        match WHOLE {
            true => right = *from.first_chunk().expect("a whole vector"),
            false => right[..tile.columns].copy_from_slice(&from[..tile.columns]),
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let left = tile.left[(row + r) * tile.row_stride + k * tile.word_stride];
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = left.mul_add(right, *sum);
            }
        }
    }
    sums
}
