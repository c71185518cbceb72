//! The gradient of a quantised product, made ready for the two products of the backward pass.

use burn::tensor::DType;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    tensors::{as_matrix, cubes, elements, empty, lanes, len},
    units::UNITS_PER_CUBE,
};

/// `grad · scale of the column` and `grad / scale of the row`, rounded to `dtype`: what the codes
/// of weights and those of inputs are multiplied by. With `terms`, what is lost in rounding is
/// rounded once more, and stands after that.
///
/// # Shapes
/// - `grad`: `[rows, width]`; both outputs have the same shape, or with terms `[rows, 2 · width]`
///   and `[2 · rows, width]`
/// - `scales`: `[width]`
/// - `inverse`: `[rows]`
pub(super) fn scaled_both_ways<R: CubeRuntime>(
    grad: &CubeTensor<R>,
    scales: &CubeTensor<R>,
    inverse: &CubeTensor<R>,
    dtype: DType,
    terms: bool,
) -> [CubeTensor<R>; 2] {
    let [rows, width] = as_matrix(grad);
    let count = if terms { 2 } else { 1 };
    let by_column = empty(grad, [rows, count * width], dtype);
    let by_row = empty(grad, [count * rows, width], dtype);
    let lanes = lanes(width);
    let vectors = len(grad) / lanes;
    let launch = match dtype {
        DType::BF16 => scale_both_ways::launch_unchecked::<half::bf16, R>,
        _ => scale_both_ways::launch_unchecked::<f32, R>,
    };
    // SAFETY: units beyond the vectors of the gradient do nothing.
    unsafe {
        launch(
            &grad.client,
            cubes(vectors.div_ceil(UNITS_PER_CUBE)),
            CubeDim::new_1d(UNITS_PER_CUBE as u32),
            lanes,
            elements(grad),
            elements(scales),
            elements(inverse),
            elements(&by_column),
            elements(&by_row),
            vectors,
            width / lanes,
            terms,
        );
    }
    [by_column, by_row]
}

/// Values rounded to another type.
pub(super) fn converted<R: CubeRuntime>(tensor: &CubeTensor<R>, dtype: DType) -> CubeTensor<R> {
    if tensor.dtype == dtype {
        return tensor.clone();
    }
    let [_, width] = as_matrix(tensor);
    let out = empty(tensor, tensor.meta.shape().clone(), dtype);
    let lanes = lanes(width);
    let vectors = len(tensor) / lanes;
    let launch = match (tensor.dtype, dtype) {
        (DType::F32, DType::BF16) => convert::launch_unchecked::<f32, half::bf16, R>,
        (DType::BF16, DType::F32) => convert::launch_unchecked::<half::bf16, f32, R>,
        _ => unreachable!("kernels compute in f32 and bf16"),
    };
    // SAFETY: units beyond the vectors do nothing.
    unsafe {
        launch(
            &tensor.client,
            cubes(vectors.div_ceil(UNITS_PER_CUBE)),
            CubeDim::new_1d(UNITS_PER_CUBE as u32),
            lanes,
            elements(tensor),
            elements(&out),
            vectors,
        );
    }
    out
}

/// `out · scale of the row · scale of the column + residual`, where there is any of them; in place
/// of `product`, which nothing else may hold.
pub(super) fn finish<R: CubeRuntime>(
    product: &CubeTensor<R>,
    inverse: &CubeTensor<R>,
    scales: &CubeTensor<R>,
    residual: Option<&CubeTensor<R>>,
) {
    let [_, width] = as_matrix(product);
    let lanes = lanes(width);
    let vectors = len(product) / lanes;
    // SAFETY: units beyond the vectors do nothing.
    unsafe {
        scale_product::launch_unchecked::<R>(
            &product.client,
            cubes(vectors.div_ceil(UNITS_PER_CUBE)),
            CubeDim::new_1d(UNITS_PER_CUBE as u32),
            lanes,
            elements(inverse),
            elements(scales),
            elements(residual.unwrap_or(scales)),
            elements(product),
            vectors,
            width / lanes,
            residual.is_some(),
        );
    }
}

#[cube(launch_unchecked)]
fn scale_both_ways<C: Numeric, N: Size>(
    grad: &Array<Vector<f32, N>>,
    scales: &Array<Vector<f32, N>>,
    inverse: &Array<f32>,
    by_column: &mut Array<Vector<C, N>>,
    by_row: &mut Array<Vector<C, N>>,
    vectors: usize,
    width: usize,
    #[comptime] terms: bool,
) {
    let i = ABSOLUTE_POS;
    if i < vectors {
        let g = grad[i];
        let row = i / width;
        let column = i % width;
        let c = g * scales[column];
        let r = g * Vector::new(inverse[row]);
        let rounded_c = Vector::<C, N>::cast_from(c);
        let rounded_r = Vector::<C, N>::cast_from(r);
        by_row[i] = rounded_r;
        if comptime!(terms) {
            let first = row * width * 2 + column;
            by_column[first] = rounded_c;
            by_column[first + width] =
                Vector::<C, N>::cast_from(c - Vector::<f32, N>::cast_from(rounded_c));
            by_row[vectors + i] =
                Vector::<C, N>::cast_from(r - Vector::<f32, N>::cast_from(rounded_r));
        } else {
            by_column[i] = rounded_c;
        }
    }
}

#[cube(launch_unchecked)]
fn convert<A: Numeric, C: Numeric, N: Size>(
    from: &Array<Vector<A, N>>,
    to: &mut Array<Vector<C, N>>,
    vectors: usize,
) {
    let i = ABSOLUTE_POS;
    if i < vectors {
        to[i] = Vector::<C, N>::cast_from(from[i]);
    }
}

#[cube(launch_unchecked)]
fn scale_product<N: Size>(
    inverse: &Array<f32>,
    scales: &Array<Vector<f32, N>>,
    residual: &Array<Vector<f32, N>>,
    out: &mut Array<Vector<f32, N>>,
    vectors: usize,
    width: usize,
    #[comptime] add: bool,
) {
    let i = ABSOLUTE_POS;
    if i < vectors {
        let y = out[i] * Vector::new(inverse[i / width]) * scales[i % width];
        if comptime!(add) {
            out[i] = y + residual[i];
        } else {
            out[i] = y;
        }
    }
}
