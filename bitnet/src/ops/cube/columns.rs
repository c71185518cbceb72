//! Sums over rows, column by column, in a fixed order.

use burn::tensor::DType;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    tensors::{as_matrix, cubes, elements, empty, len},
    units::UNITS_PER_CUBE,
};

/// Columns of a cube.
const COLUMNS_PER_CUBE: usize = 8;
/// Units that share a column.
const UNITS_PER_COLUMN: usize = 32;
/// Up to so many rows one unit adds up a column.
const MAX_ROWS_OF_ONE_UNIT: usize = 16;

/// The sum of all rows.
///
/// # Shapes
/// - `rows`: `[rows, width]`, contiguous
/// - output: `[width]`
pub(super) fn sum_rows<R: CubeRuntime>(rows: &CubeTensor<R>) -> CubeTensor<R> {
    let [count, width] = as_matrix(rows);
    let out = empty(rows, [width], DType::F32);
    if count <= MAX_ROWS_OF_ONE_UNIT {
        let cube = CubeDim::new_1d(UNITS_PER_CUBE as u32);
        // SAFETY: a unit reads its column and writes its element, if there is one.
        unsafe {
            add_few_rows::launch_unchecked::<R>(
                &rows.client,
                cubes(width.div_ceil(UNITS_PER_CUBE)),
                cube,
                elements(rows),
                elements(&out),
                count,
                width,
            );
        }
        return out;
    }
    debug_assert_eq!(len(rows), count * width);
    // SAFETY: units beyond the last column read and write the cube's shared memory alone.
    unsafe {
        add_rows::launch_unchecked::<R>(
            &rows.client,
            cubes(width.div_ceil(COLUMNS_PER_CUBE)),
            CubeDim::new_1d((COLUMNS_PER_CUBE * UNITS_PER_COLUMN) as u32),
            elements(rows),
            elements(&out),
            count,
            width,
            COLUMNS_PER_CUBE,
            UNITS_PER_COLUMN,
        );
    }
    out
}

#[cube(launch_unchecked)]
fn add_few_rows(rows: &Array<f32>, out: &mut Array<f32>, count: usize, width: usize) {
    let column = ABSOLUTE_POS;
    if column < width {
        let mut sum = 0.0f32;
        for row in 0..count {
            sum += rows[row * width + column];
        }
        out[column] = sum;
    }
}

#[cube(launch_unchecked)]
fn add_rows(
    rows: &Array<f32>,
    out: &mut Array<f32>,
    count: usize,
    width: usize,
    #[comptime] columns: usize,
    #[comptime] shares: usize,
) {
    let mut shared = SharedMemory::<f32>::new(columns * shares);
    let unit = UNIT_POS as usize;
    let column = CUBE_POS as usize * columns + unit % columns;
    let share = unit / columns;
    let mut sum = 0.0f32;
    if column < width {
        let mut row = share;
        while row < count {
            sum += rows[row * width + column];
            row += shares;
        }
    }
    shared[unit] = sum;
    sync_cube();
    if share == 0 && column < width {
        let mut sum = 0.0f32;
        #[unroll]
        for i in 0..shares {
            sum += shared[i * columns + unit];
        }
        out[column] = sum;
    }
}
