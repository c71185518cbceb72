//! From tensors of any backend to the kernels, by the type of the backend.

use std::any::TypeId;

use burn::{
    backend::Autodiff,
    tensor::{Int, Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor},
};
use burn_cubecl::{BoolElement, CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::cuda::CudaRuntime;

use super::{
    adamw::AdamW,
    embedding::Embedding,
    gate::CubeGate,
    gradients,
    mean::Mean,
    output_head::OutputHead,
    quantized_linear::QuantizedLinears,
    rms_norm::RmsNorm,
    self_attention::SelfAttention as Attention,
    tensors::Cube,
    token_losses::TokenLosses,
    weights::{CubeQuantizer, MeanMagnitude},
};
use crate::{
    cpu::{adamw::AdamWStep, gate::Gate},
    ops::{
        Columns,
        arguments::{LinearInput, SelfAttention, WeightQuantizer},
        autodiff::{DifferentiableOp, OpBackend, apply, cast, primitive},
        is_on,
    },
    precision::Precision,
};

/// What there are kernels for: the backend `cuda` without fusion, which would put off what they
/// read. (`wgpu` compiles those of CubeCL, too, but not yet within what its tests ask for.)
type Cuda = Cube<CudaRuntime, u8>;

impl<R: CubeRuntime, BT: BoolElement> OpBackend for Cube<R, BT> {
    fn to_op_layout(tensor: CubeTensor<R>) -> CubeTensor<R> {
        into_contiguous(tensor)
    }
}

/// Whether there are kernels for a tensor, and they are not switched off: it is on a GPU's backend,
/// with gradients or without, but without fusion, which would put off what they read.
pub(in crate::ops) fn is_on_gpu<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> bool {
    is_on::<Cuda, _, _>(tensor)
}

fn on_gpu<B, Op, const N: usize, const D: usize>(
    op: Op,
    inputs: [FloatTensor<B>; N],
) -> Tensor<B, D>
where
    B: Backend,
    Op: DifferentiableOp<Cuda, N>,
{
    apply::<B, Cuda, Op, N, D>(op, inputs)
}

/// The outputs of layers of one input, side by side.
pub(in crate::ops) fn quantized_linear<B: Backend>(
    quantizer: WeightQuantizer,
    precision: Precision,
    input: LinearInput<B>,
    weights: Vec<Tensor<B, 2>>,
) -> Columns<B> {
    let is_side_by_side = input.gate.is_none() || matches!(input.x, Columns::Joined(..));
    if !is_side_by_side {
        let (x, residual) = input.prepare();
        let input = LinearInput { residual, ..LinearInput::new(x) };
        return quantized_linear(quantizer, precision, input, weights);
    }
    let widths = weights.iter().map(|weight| weight.dims()[1]).collect();
    let LinearInput { x, gate, norm, residual } = input;
    let op = QuantizedLinears {
        coding: match quantizer {
            WeightQuantizer::Ternary => CubeQuantizer::Ternary,
            WeightQuantizer::Binary => CubeQuantizer::Binary,
        },
        bf16: precision == Precision::Bf16,
        gate: match gate {
            None => CubeGate::None,
            Some(Gate::Relu2) => CubeGate::Relu2,
            Some(Gate::Silu) => CubeGate::Silu,
        },
        norm: norm.as_ref().map(|norm| norm.eps),
        residual: residual.is_some(),
    };
    let mut inputs = vec![x.joined()];
    inputs.extend(norm.map(|norm| norm.gains.unsqueeze()));
    inputs.extend(residual);
    inputs.extend(weights);
    let y = match inputs.len() {
        2 => linears::<B, 2>(op, inputs),
        3 => linears::<B, 3>(op, inputs),
        4 => linears::<B, 4>(op, inputs),
        5 => linears::<B, 5>(op, inputs),
        6 => linears::<B, 6>(op, inputs),
        count => unreachable!("{count} inputs: there are at most three layers of one input"),
    };
    Columns::Joined(y, widths)
}

fn linears<B: Backend, const N: usize>(
    op: QuantizedLinears,
    inputs: Vec<Tensor<B, 2>>,
) -> Tensor<B, 2> {
    let inputs: [_; N] = inputs.try_into().expect("they have been counted");
    on_gpu::<B, _, N, 2>(op, inputs.map(primitive))
}

/// The attention of whole sequences.
///
/// # Shapes
/// - `qkv`: `[batch · seq, (heads + 2 · kv_heads) · dim]`
/// - `angles`: cosines and sines, which get no gradient, `[seq, dim]`
/// - output: `[batch · seq, heads · dim]`
pub(in crate::ops) fn self_attention<B: Backend>(
    attention: SelfAttention<B>,
    qkv: Tensor<B, 2>,
    seq: usize,
    [cos, sin]: [Tensor<B, 2>; 2],
) -> Tensor<B, 2> {
    let SelfAttention { heads, kv_heads, dim, norms, precision } = attention;
    let op = |norm| Attention {
        seq,
        heads: [heads, kv_heads],
        dim,
        norm,
        bf16: precision == Precision::Bf16,
    };
    match norms {
        Some([of_q, of_k]) => {
            let op = op(Some(of_q.eps));
            let [of_q, of_k] = [of_q, of_k].map(|norm| norm.gains.unsqueeze());
            let inputs = [qkv, cos, sin, of_q, of_k].map(primitive);
            on_gpu::<B, _, 5, 2>(op, inputs)
        }
        None => {
            let inputs = [qkv, cos, sin].map(primitive);
            on_gpu::<B, _, 3, 2>(op(None), inputs)
        }
    }
}

/// RMSNorm with gains, over the last dimension.
pub(in crate::ops) fn rms_norm<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    gains: Tensor<B, 1>,
    eps: f64,
) -> Tensor<B, D> {
    let inputs = [primitive(x), primitive(gains)];
    on_gpu::<B, _, 2, D>(RmsNorm { eps }, inputs)
}

/// The product with the weight of an output head, in bf16.
pub(in crate::ops) fn output_head<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    transposed: bool,
) -> Tensor<B, 2> {
    let inputs = [primitive(x), primitive(weight)];
    on_gpu::<B, _, 2, 2>(OutputHead { transposed }, inputs)
}

/// `−log p(target)` of each row.
pub(in crate::ops) fn token_losses<B: Backend>(
    logits: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    let targets = targets.into_primitive();
    let targets = into_contiguous::<CudaRuntime>(cast(targets));
    on_gpu::<B, _, 1, 1>(TokenLosses { targets }, [primitive(logits)])
}

/// Rows of an embedding.
///
/// # Shapes
/// - `weight`: `[vocab, dim]`
/// - `tokens`: `[batch, seq]`
/// - output: `[batch, seq, dim]`
pub(in crate::ops) fn embedding<B: Backend>(
    weight: Tensor<B, 2>,
    tokens: Tensor<B, 2, Int>,
) -> Tensor<B, 3> {
    let tokens = tokens.into_primitive();
    let tokens = into_contiguous::<CudaRuntime>(cast(tokens));
    on_gpu::<B, _, 1, 3>(Embedding { tokens }, [primitive(weight)])
}

/// The mean of a vector, `[1]`.
pub(in crate::ops) fn mean<B: Backend>(x: Tensor<B, 1>) -> Tensor<B, 1> {
    on_gpu::<B, _, 1, 1>(Mean, [primitive(x)])
}

/// The mean magnitude of all elements, as a tensor of one element.
pub(in crate::ops) fn mean_magnitude<B: Backend, const D: usize>(
    weight: Tensor<B, D>,
) -> Tensor<B, D> {
    let inputs = [primitive(weight)];
    on_gpu::<B, _, 1, D>(MeanMagnitude, inputs)
}

/// Steps a parameter and its moments, in place where nothing else holds them: step `time`, from 1.
pub(in crate::ops) fn adamw<B: Backend, const D: usize>(
    step: AdamWStep,
    time: usize,
    tensors: [Tensor<B, D>; 3],
    grad: Tensor<B, D>,
) -> [Tensor<B, D>; 3] {
    let AdamWStep { lr, keep, betas, epsilon } = step;
    let step = AdamW { lr: lr as f32, keep: keep as f32, betas, epsilon, time };
    let (tensors, grad) = (tensors.map(primitive), primitive(grad));
    let grad = into_contiguous(from_backend::<B>(grad));
    let tensors = tensors.map(from_backend::<B>);
    step.step(tensors, &grad).map(to_backend::<B, D>)
}

/// Scales gradients so that their norm together is at most `max_norm`. Returns their norm before
/// that, `[1]`, too.
pub(in crate::ops) fn clip<B: Backend>(
    grads: Vec<Tensor<B, 1>>,
    max_norm: f64,
    small: f64,
) -> (Vec<Tensor<B, 1>>, Tensor<B, 1>) {
    let grads: Vec<_> = grads.into_iter().map(primitive).collect();
    let grads = grads.into_iter();
    let grads = grads.map(|grad| into_contiguous(from_backend::<B>(grad))).collect();
    let (grads, norm) = gradients::clip(grads, max_norm as f32, small as f32);
    let grads = grads.into_iter().map(to_backend::<B, 1>).collect();
    (grads, to_backend::<B, 1>(norm))
}

/// A tensor without its place among gradients.
fn from_backend<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<Cuda> {
    if TypeId::of::<B>() == TypeId::of::<Cuda>() {
        return cast(tensor);
    }
    cast::<_, FloatTensor<Autodiff<Cuda>>>(tensor).primitive
}

/// A constant of a backend.
fn to_backend<B: Backend, const D: usize>(tensor: FloatTensor<Cuda>) -> Tensor<B, D> {
    let tensor: FloatTensor<B> = if TypeId::of::<B>() == TypeId::of::<Cuda>() {
        cast(tensor)
    } else {
        cast(FloatTensor::<Autodiff<Cuda>>::new(tensor))
    };
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}
