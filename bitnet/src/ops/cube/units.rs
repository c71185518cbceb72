//! What units of a cube compute together.

use cubecl::prelude::*;

/// Units of a cube, where nothing asks for another number.
pub(super) const UNITS_PER_CUBE: usize = 256;
/// Cubes that share the rows of a backward pass: each has a partial sum of the gradient of gains.
pub(super) const CUBES_PER_BACKWARD: usize = 1024;

/// The sum of a value of each unit, of which there are a power of two. The order is fixed.
#[cube]
pub(super) fn cube_sum(value: f32, #[comptime] units: usize) -> f32 {
    let mut shared = SharedMemory::<f32>::new(units);
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    let levels = comptime!(units.ilog2());
    #[unroll]
    for level in 0..levels {
        let half = comptime!(units >> (level + 1));
        if unit < half {
            shared[unit] += shared[unit + half];
        }
        sync_cube();
    }
    shared[0]
}

/// The highest of a value of each unit.
#[cube]
pub(super) fn cube_max(value: f32, #[comptime] units: usize) -> f32 {
    let mut shared = SharedMemory::<f32>::new(units);
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    let levels = comptime!(units.ilog2());
    #[unroll]
    for level in 0..levels {
        let half = comptime!(units >> (level + 1));
        if unit < half {
            shared[unit] = max(shared[unit], shared[unit + half]);
        }
        sync_cube();
    }
    shared[0]
}

/// The sum of the elements of a vector.
#[cube]
pub(super) fn sum_of<N: Size>(vector: Vector<f32, N>) -> f32 {
    let mut sum = 0.0f32;
    #[unroll]
    for lane in 0..N::value() {
        sum += vector[lane];
    }
    sum
}

/// The highest of the elements of a vector, or the given value.
#[cube]
pub(super) fn max_of<N: Size>(vector: Vector<f32, N>, lowest: f32) -> f32 {
    let mut highest = lowest;
    #[unroll]
    for lane in 0..N::value() {
        highest = max(highest, vector[lane]);
    }
    highest
}
