use burn::tensor::{Tensor, TensorPrimitive, backend::Backend};
use burn_flex::FlexTensor;

use super::tensor::{tensor as tensor_of, values};
use crate::{
    cpu::{
        adamw::{AdamWStep, step},
        parallel::{for_row_blocks, par_map},
        uninit::Uninit,
    },
    ops::autodiff::{cast, primitive},
};

/// Parameters are taken as rows of this many elements, whatever their shape.
const ELEMENTS_PER_ROW: usize = 1024;

/// Steps a parameter and its moments, in place where nothing else holds them.
pub(in crate::ops) fn adamw<B: Backend, const D: usize>(
    numbers: AdamWStep,
    time: usize,
    parameter_and_moments: [Tensor<B, D>; 3],
    grad: Tensor<B, D>,
) -> [Tensor<B, D>; 3] {
    let grad: FlexTensor = cast(primitive(grad));
    let grad = grad.to_contiguous();
    let mut tensors = parameter_and_moments.map(|tensor| own(cast(primitive(tensor))));
    let g: &[f32] = values(&grad);
    let outputs = tensors.each_mut().map(|tensor| (tensor.storage_mut::<f32>(), ELEMENTS_PER_ROW));
    for_row_blocks(4 * g.len(), g.len().div_ceil(ELEMENTS_PER_ROW), outputs, |first, [p, m, v]| {
        step(numbers, time, p, m, v, &g[first * ELEMENTS_PER_ROW..]);
    });
    tensors.map(|tensor| Tensor::from_primitive(TensorPrimitive::Float(cast(tensor))))
}

/// A contiguous tensor that nothing else holds: the same one where it is that.
fn own(tensor: FlexTensor) -> FlexTensor {
    let contiguous = tensor.to_contiguous();
    drop(tensor);
    if contiguous.is_unique() {
        return contiguous;
    }
    let from = values(&contiguous);
    let mut to = Uninit::new(from.len());
    let pieces = to.chunks(64 * ELEMENTS_PER_ROW).zip(from.chunks(64 * ELEMENTS_PER_ROW)).collect();
    par_map(from.len(), pieces, |_, (to, from)| to.zeroed().copy_from_slice(from));
    tensor_of(to.finish(), contiguous.layout().shape().clone())
}
