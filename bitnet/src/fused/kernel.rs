use burn::tensor::{
    DType, Shape, Tensor, TensorData, TensorMetadata, backend::Backend, ops::FloatTensor,
};
use burn_flex::{Flex, FlexTensor};

use crate::ops::autodiff::{DifferentiableOp, OpBackend, apply, is_backend};
pub(super) use crate::ops::autodiff::{cast, primitive};

/// Whether fused operations are used for the tensors of a backend, of which this is one.
pub(crate) fn applies<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> bool {
    is_backend::<B, Flex>() && super::is_enabled() && tensor.dtype() == DType::F32
}

impl OpBackend for Flex {
    fn to_op_layout(tensor: FlexTensor) -> FlexTensor {
        tensor.to_contiguous()
    }
}

/// Computes an operation of Flex.
///
/// # Panics
/// On backends that [`applies`] has not been asked about.
pub(super) fn compute<B: Backend, K: DifferentiableOp<Flex, N>, const N: usize, const D: usize>(
    op: K,
    inputs: [FloatTensor<B>; N],
) -> Tensor<B, D> {
    apply::<B, Flex, K, N, D>(op, inputs)
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
