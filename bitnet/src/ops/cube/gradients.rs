//! The norm of all gradients together, and gradients times a number, without a look from the host.

use burn::tensor::DType;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    tensors::{cubes, elements, empty, lanes, len},
    units::{UNITS_PER_CUBE, cube_sum, sum_of},
};

/// The highest number of cubes of a tensor.
const MAX_CUBES_PER_TENSOR: usize = UNITS_PER_CUBE;

/// Scales gradients so that their norm together is at most `max_norm`, in place where nothing else
/// holds them. Returns their norm before that, `[1]`, too.
pub(crate) fn clip<R: CubeRuntime>(
    grads: Vec<CubeTensor<R>>,
    max_norm: f32,
    small: f32,
) -> (Vec<CubeTensor<R>>, CubeTensor<R>) {
    let cubes_of = |grad: &CubeTensor<R>| {
        len(grad).div_ceil(16 * UNITS_PER_CUBE).clamp(1, MAX_CUBES_PER_TENSOR)
    };
    let all: usize = grads.iter().map(cubes_of).sum();
    let partial = empty(&grads[0], [all], DType::F32);
    let mut first = 0;
    for grad in &grads {
        let count = cubes_of(grad);
        let lanes = lanes(len(grad));
        // SAFETY: the cubes read the tensor, and write a number each.
        unsafe {
            add_squares::launch_unchecked::<R>(
                &grad.client,
                cubes(count),
                CubeDim::new_1d(UNITS_PER_CUBE as u32),
                lanes,
                elements(grad),
                elements(&partial),
                len(grad) / lanes,
                first,
                UNITS_PER_CUBE,
            );
        }
        first += count;
    }
    let [norm, factor] = [(); 2].map(|()| empty(&grads[0], [1], DType::F32));
    // SAFETY: one cube reads the partial sums, and one unit writes the numbers.
    unsafe {
        norm_of_parts::launch_unchecked::<R>(
            &partial.client,
            cubes(1),
            CubeDim::new_1d(UNITS_PER_CUBE as u32),
            elements(&partial),
            elements(&norm),
            elements(&factor),
            all,
            max_norm,
            small,
            UNITS_PER_CUBE,
        );
    }
    if !max_norm.is_finite() {
        return (grads, norm);
    }
    let scaled = grads.into_iter().map(|grad| {
        let grad = if grad.can_mut() { grad } else { copied(&grad) };
        let lanes = lanes(len(&grad));
        let vectors = len(&grad) / lanes;
        // SAFETY: units beyond the vectors do nothing.
        unsafe {
            scale::launch_unchecked::<R>(
                &grad.client,
                cubes(vectors.div_ceil(UNITS_PER_CUBE)),
                CubeDim::new_1d(UNITS_PER_CUBE as u32),
                lanes,
                elements(&factor),
                elements(&grad),
                vectors,
            );
        }
        grad
    });
    let scaled = scaled.collect();
    (scaled, norm)
}

/// A copy of a contiguous tensor.
pub(super) fn copied<R: CubeRuntime>(tensor: &CubeTensor<R>) -> CubeTensor<R> {
    let to = empty(tensor, tensor.meta.shape().clone(), DType::F32);
    let lanes = lanes(len(tensor));
    let vectors = len(tensor) / lanes;
    // SAFETY: units beyond the vectors do nothing.
    unsafe {
        copy::launch_unchecked::<R>(
            &tensor.client,
            cubes(vectors.div_ceil(UNITS_PER_CUBE)),
            CubeDim::new_1d(UNITS_PER_CUBE as u32),
            lanes,
            elements(tensor),
            elements(&to),
            vectors,
        );
    }
    to
}

#[cube(launch_unchecked)]
fn add_squares<N: Size>(
    from: &Array<Vector<f32, N>>,
    partial: &mut Array<f32>,
    vectors: usize,
    first: usize,
    #[comptime] units: usize,
) {
    let cube = CUBE_POS as usize;
    let mut squares = Vector::<f32, N>::new(0.0f32);
    let each = CUBE_COUNT as usize * units;
    let mut i = cube * units + UNIT_POS as usize;
    while i < vectors {
        let x = from[i];
        squares += x * x;
        i += each;
    }
    let total = cube_sum(sum_of::<N>(squares), units);
    if UNIT_POS == 0 {
        partial[first + cube] = total;
    }
}

#[cube(launch_unchecked)]
fn norm_of_parts(
    partial: &Array<f32>,
    norm: &mut Array<f32>,
    factor: &mut Array<f32>,
    count: usize,
    max_norm: f32,
    small: f32,
    #[comptime] units: usize,
) {
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < count {
        sum += partial[i];
        i += units;
    }
    let total = cube_sum(sum, units).sqrt();
    if UNIT_POS == 0 {
        norm[0] = total;
        factor[0] = min(max_norm / (total + small), 1.0f32);
    }
}

#[cube(launch_unchecked)]
fn scale<N: Size>(factor: &Array<f32>, values: &mut Array<Vector<f32, N>>, vectors: usize) {
    let i = ABSOLUTE_POS;
    if i < vectors {
        values[i] = values[i] * Vector::new(factor[0]);
    }
}

#[cube(launch_unchecked)]
fn copy<N: Size>(from: &Array<Vector<f32, N>>, to: &mut Array<Vector<f32, N>>, vectors: usize) {
    let i = ABSOLUTE_POS;
    if i < vectors {
        to[i] = from[i];
    }
}
