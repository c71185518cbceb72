use std::{
    any::{Any, TypeId},
    fmt::Debug,
};

use burn::{
    backend::{
        Autodiff,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::NoCheckpointing},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
    },
    tensor::{
        DType, Shape, Tensor, TensorData, TensorMetadata, TensorPrimitive, backend::Backend,
        ops::FloatTensor,
    },
};
use burn_flex::{Flex, FlexTensor};

/// A differentiable operation over tensors in memory, with `N` inputs and one output.
pub(super) trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs of the forward pass.
    type Saved: Clone + Debug + Send + 'static;

    /// Computes the output, from contiguous inputs.
    fn forward(&self, inputs: [FlexTensor; N]) -> (FlexTensor, Self::Saved);

    /// Computes the gradients of the inputs that are `wanted`, from the contiguous gradient of the
    /// output.
    fn backward(
        &self,
        saved: Self::Saved,
        grad: FlexTensor,
        wanted: [bool; N],
    ) -> [Option<FlexTensor>; N];
}

/// Whether fused operations are used for the tensors of a backend, of which this is one.
pub(crate) fn applies<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> bool {
    let id = TypeId::of::<B>();
    let known = id == TypeId::of::<Flex>() || id == TypeId::of::<Autodiff<Flex>>();
    known && super::is_enabled() && tensor.dtype() == DType::F32
}

/// Computes a kernel, and records it for the backward pass where `B` has one.
///
/// # Panics
/// On backends that [`applies`] has not been asked about.
pub(super) fn compute<B: Backend, K: Kernel<N>, const N: usize, const D: usize>(
    kernel: K,
    inputs: [FloatTensor<B>; N],
) -> Tensor<B, D> {
    let output = if TypeId::of::<B>() == TypeId::of::<Flex>() {
        let inputs = inputs.map(|input| contiguous(cast(input)));
        cast(kernel.forward(inputs).0)
    } else {
        let inputs = inputs.map(cast::<_, FloatTensor<Autodiff<Flex>>>);
        let nodes = inputs.each_ref().map(|input| input.node.clone());
        let inputs = inputs.map(|input| contiguous(input.primitive));
        let (output, saved) = kernel.forward(inputs);
        let step = KernelStep(kernel).prepare::<NoCheckpointing>(nodes).compute_bound();
        cast(match step.stateful() {
            OpsKind::Tracked(step) => step.finish(saved, output),
            OpsKind::UnTracked(step) => step.finish(output),
        })
    };
    Tensor::from_primitive(TensorPrimitive::Float(output))
}

#[derive(Debug)]
struct KernelStep<K>(K);

impl<K: Kernel<N>, const N: usize> Backward<Flex, N> for KernelStep<K> {
    type State = K::Saved;

    fn backward(self, ops: Ops<K::Saved, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = contiguous(grads.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let inputs = self.0.backward(ops.state, grad, wanted);
        for (parent, grad) in ops.parents.into_iter().zip(inputs) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<Flex>(parent.id, grad);
            }
        }
    }
}

/// The primitive of a tensor.
pub(super) fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// A value whose type is known by now, as that type.
pub(super) fn cast<T: 'static, U: 'static>(value: T) -> U {
    let mut value = Some(value);
    let value: &mut dyn Any = &mut value;
    value
        .downcast_mut::<Option<U>>()
        .and_then(Option::take)
        .expect("the type of the backend has been checked")
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
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
