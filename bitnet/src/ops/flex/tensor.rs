use burn::tensor::{Shape, Tensor, TensorData, TensorMetadata, backend::Backend, ops::FloatTensor};
use burn_flex::{Flex, FlexTensor};

use crate::ops::autodiff::{DifferentiableOp, OpBackend, apply};

impl OpBackend for Flex {
    fn to_op_layout(tensor: FlexTensor) -> FlexTensor {
        tensor.to_contiguous()
    }
}

/// Computes an operation of Flex.
///
/// # Panics
/// On other backends.
pub(super) fn compute<B: Backend, Op: DifferentiableOp<Flex, N>, const N: usize, const D: usize>(
    op: Op,
    inputs: [FloatTensor<B>; N],
) -> Tensor<B, D> {
    apply::<B, Flex, Op, N, D>(op, inputs)
}

/// The values of a contiguous tensor.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.storage()
}

/// Values as a tensor.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// Rows and width of a tensor, taken as a matrix of its last dimension.
pub(super) fn as_matrix(tensor: &FlexTensor) -> (usize, usize) {
    let shape = tensor.shape();
    let width = shape[shape.num_dims() - 1];
    (shape.num_elements() / width.max(1), width)
}
