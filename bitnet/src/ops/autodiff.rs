//! An operation of our own in Burn's graph: its forward pass, and its place in the backward pass.

use std::{
    any::{Any, TypeId},
    fmt::Debug,
    marker::PhantomData,
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
    tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor},
};

/// A backend without gradients that has operations of its own.
pub(crate) trait OpBackend: Backend {
    /// Brings a tensor into the layout that the operations of this backend read: contiguous, say.
    /// Called for every input and for the gradient of every output.
    fn to_op_layout(tensor: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// A differentiable operation with `N` inputs and one output, as the backend `I` computes it. The
/// fields of the type are its constants: sizes, ε, and the like.
pub(crate) trait DifferentiableOp<I: OpBackend, const N: usize>:
    Clone + Debug + Send + 'static
{
    /// What the backward pass needs of the forward pass.
    type Saved: Clone + Debug + Send + 'static;

    /// Computes the output.
    fn forward(&self, inputs: [FloatTensor<I>; N]) -> (FloatTensor<I>, Self::Saved);

    /// Computes the gradients of the inputs that are `wanted`, from that of the output.
    fn backward(
        &self,
        saved: Self::Saved,
        grad: FloatTensor<I>,
        wanted: [bool; N],
    ) -> [Option<FloatTensor<I>>; N];
}

/// Whether `B` is `I`, or `I` with gradients.
pub(crate) fn is_backend<B: Backend, I: Backend>() -> bool {
    [TypeId::of::<I>(), TypeId::of::<Autodiff<I>>()].contains(&TypeId::of::<B>())
}

/// Computes an operation by the implementation of `I`, and records it for the backward pass where
/// `B` has one.
///
/// # Panics
/// If `B` is neither `I` nor `Autodiff<I>`.
pub(crate) fn apply<B, I, Op, const N: usize, const D: usize>(
    op: Op,
    inputs: [FloatTensor<B>; N],
) -> Tensor<B, D>
where
    B: Backend,
    I: OpBackend,
    Op: DifferentiableOp<I, N>,
{
    #[cfg(test)]
    APPLIED.set(APPLIED.get() + 1);
    let output = if TypeId::of::<B>() == TypeId::of::<I>() {
        let inputs = inputs.map(|input| I::to_op_layout(cast(input)));
        cast(op.forward(inputs).0)
    } else {
        let inputs = inputs.map(cast::<_, FloatTensor<Autodiff<I>>>);
        let nodes = inputs.each_ref().map(|input| input.node.clone());
        let inputs = inputs.map(|input| I::to_op_layout(input.primitive));
        let (output, saved) = op.forward(inputs);
        let step = Step::<I, Op>(op, PhantomData).prepare::<NoCheckpointing>(nodes).compute_bound();
        cast(match step.stateful() {
            OpsKind::Tracked(step) => step.finish(saved, output),
            OpsKind::UnTracked(step) => step.finish(output),
        })
    };
    Tensor::from_primitive(TensorPrimitive::Float(output))
}

#[cfg(test)]
thread_local! {
    static APPLIED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How many operations of a backend's own this thread has applied.
#[cfg(test)]
pub(super) fn applied() -> usize {
    APPLIED.get()
}

/// The node of an operation in the graph.
#[derive(Debug)]
struct Step<I, Op>(Op, PhantomData<I>);

impl<I: OpBackend, Op: DifferentiableOp<I, N>, const N: usize> Backward<I, N> for Step<I, Op> {
    type State = Op::Saved;

    fn backward(self, ops: Ops<Op::Saved, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = I::to_op_layout(grads.consume::<I>(&ops.node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let inputs = self.0.backward(ops.state, grad, wanted);
        for (parent, grad) in ops.parents.into_iter().zip(inputs) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<I>(parent.id, grad);
            }
        }
    }
}

/// The primitive of a tensor.
pub(crate) fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// A value whose type is known by now, as that type.
///
/// # Panics
/// If it has another one.
pub(crate) fn cast<T: 'static, U: 'static>(value: T) -> U {
    let mut value = Some(value);
    let value: &mut dyn Any = &mut value;
    value
        .downcast_mut::<Option<U>>()
        .and_then(Option::take)
        .expect("the type of the backend has been checked")
}
