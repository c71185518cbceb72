//! The gradients of all parameters at once: their norm, and a factor for them.

use burn::tensor::{Tensor, TensorPrimitive, backend::Backend};
use burn_flex::FlexTensor;

use super::tensor::values;
use crate::{
    cpu::reduce,
    ops::autodiff::{cast, primitive},
};

/// The sum of the squares of all elements.
pub(in crate::ops) fn sum_of_squares<B: Backend>(tensors: &[Tensor<B, 1>]) -> f64 {
    let tensors: Vec<_> = tensors.iter().cloned().map(in_memory).collect();
    reduce::sum_of_squares(tensors.iter().map(values))
}

/// Multiplies all elements, in place where nothing else holds a tensor.
pub(in crate::ops) fn scale<B: Backend>(
    tensors: Vec<Tensor<B, 1>>,
    factor: f32,
) -> Vec<Tensor<B, 1>> {
    let mut tensors: Vec<_> = tensors.into_iter().map(in_memory).collect();
    reduce::scale(tensors.iter_mut().map(FlexTensor::storage_mut::<f32>), factor);
    let from_memory = |tensor| Tensor::from_primitive(TensorPrimitive::Float(cast(tensor)));
    tensors.into_iter().map(from_memory).collect()
}

fn in_memory<B: Backend>(tensor: Tensor<B, 1>) -> FlexTensor {
    cast::<_, FlexTensor>(primitive(tensor)).to_contiguous()
}
