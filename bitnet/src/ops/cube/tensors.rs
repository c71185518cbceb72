//! Tensors of the kernels, and how many cubes compute them.

use burn::tensor::{DType, Shape, TensorMetadata};
use burn_cubecl::{CubeBackend, CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::{ArrayArg, CubeCount};

/// A GPU backend, without fusion; `BT` is how it stores truth values.
pub(crate) type Cube<R, BT> = CubeBackend<R, f32, i32, BT>;

/// Cubes in the first dimension of a launch: every device allows as many.
const MAX_CUBES_IN_X: u32 = 32_768;

/// A contiguous tensor on the device of another, to be written.
pub(super) fn empty<R: CubeRuntime>(
    like: &CubeTensor<R>,
    shape: impl Into<Shape>,
    dtype: DType,
) -> CubeTensor<R> {
    let (client, device, shape) = (like.client.clone(), like.device.clone(), shape.into());
    let handle = client.empty((shape.num_elements() * dtype.size()).max(4));
    CubeTensor::new_contiguous(client, device, shape, handle, dtype)
}

/// The elements of a contiguous tensor as an argument.
pub(super) fn elements<R: CubeRuntime>(tensor: &CubeTensor<R>) -> ArrayArg<R> {
    tensor.clone().into_array_arg()
}

/// Number of elements.
pub(super) fn len<R: CubeRuntime>(tensor: &CubeTensor<R>) -> usize {
    tensor.shape().num_elements()
}

/// Rows and width of a tensor, taken as a matrix of its last dimension.
pub(super) fn as_matrix<R: CubeRuntime>(tensor: &CubeTensor<R>) -> [usize; 2] {
    let shape = tensor.shape();
    let width = shape[shape.num_dims() - 1];
    [shape.num_elements() / width.max(1), width]
}

/// The same elements in another shape.
pub(super) fn reshaped<R: CubeRuntime>(
    tensor: &CubeTensor<R>,
    shape: impl Into<Shape>,
) -> CubeTensor<R> {
    let CubeTensor { client, handle, device, dtype, .. } = tensor.clone();
    CubeTensor::new_contiguous(client, device, shape.into(), handle, dtype)
}

/// Elements that one unit reads at once, of rows of some width.
pub(super) fn lanes(width: usize) -> usize {
    if width.is_multiple_of(4) { 4 } else { 1 }
}

/// A launch of at least so many cubes. Those above are there to be ended by the kernel.
pub(super) fn cubes(count: usize) -> CubeCount {
    let count = count as u32;
    CubeCount::Static(count.min(MAX_CUBES_IN_X), count.div_ceil(MAX_CUBES_IN_X), 1)
}

/// Units of a cube that share a row of so many vectors.
pub(super) fn units(vectors: usize) -> u32 {
    (vectors.next_power_of_two() as u32).clamp(32, 256)
}
