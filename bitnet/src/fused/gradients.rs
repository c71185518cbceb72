//! The gradients of all parameters at once: their norm, and a factor for them.

use burn::tensor::{Tensor, TensorPrimitive, backend::Backend};
use burn_flex::FlexTensor;
use multiversion::multiversion;

use super::{
    kernel::{cast, primitive, values},
    rows::share,
};
use crate::float::sum;

/// Elements that are one piece of work.
const PIECE: usize = 1 << 14;

/// The sum of the squares of all elements.
pub(crate) fn sum_of_squares<B: Backend>(tensors: &[Tensor<B, 1>]) -> f64 {
    let tensors: Vec<_> = tensors.iter().cloned().map(in_memory).collect();
    let pieces: Vec<_> = tensors.iter().flat_map(|tensor| values(tensor).chunks(PIECE)).collect();
    let elements = pieces.iter().map(|piece| piece.len()).sum();
    share(elements, pieces, |_, piece| f64::from(squares(piece))).into_iter().sum()
}

/// Multiplies all elements, in place where nothing else holds a tensor.
pub(crate) fn scale<B: Backend>(tensors: Vec<Tensor<B, 1>>, factor: f32) -> Vec<Tensor<B, 1>> {
    let mut tensors: Vec<_> = tensors.into_iter().map(in_memory).collect();
    let storages = tensors.iter_mut().map(FlexTensor::storage_mut::<f32>);
    let pieces: Vec<_> = storages.flat_map(|storage| storage.chunks_mut(PIECE)).collect();
    let elements = pieces.iter().map(|piece| piece.len()).sum();
    share(elements, pieces, |_, piece| multiply(piece, factor));
    let from_memory = |tensor| Tensor::from_primitive(TensorPrimitive::Float(cast(tensor)));
    tensors.into_iter().map(from_memory).collect()
}

fn in_memory<B: Backend>(tensor: Tensor<B, 1>) -> FlexTensor {
    cast::<_, FlexTensor>(primitive(tensor)).to_contiguous()
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn squares(values: &[f32]) -> f32 {
    sum([values], |[x]| x * x)
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn multiply(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}
