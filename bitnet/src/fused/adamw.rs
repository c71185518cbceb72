use burn::tensor::{Tensor, TensorPrimitive, backend::Backend};
use burn_flex::FlexTensor;
use multiversion::multiversion;

use super::{
    fresh::Fresh,
    kernel::{cast, primitive, tensor as tensor_of, values},
    rows::{for_pieces, share},
};

/// Parameters are taken as rows of this many elements, whatever their shape.
const ROW: usize = 1024;

/// The numbers of an AdamW step (arXiv 1711.05101).
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamWStep {
    /// Learning rate.
    pub(crate) lr: f64,
    /// Factor of the parameter before the step: 1 less the decay.
    pub(crate) keep: f64,
    /// Decay rates of the moments.
    pub(crate) betas: (f32, f32),
    /// Added to the root of the second moment.
    pub(crate) epsilon: f32,
    /// Number of the step, from 1.
    pub(crate) time: usize,
}

impl AdamWStep {
    /// Steps a parameter and its moments, in place where nothing else holds them.
    pub(crate) fn apply<B: Backend, const D: usize>(
        self,
        [parameter, moment_1, moment_2]: [Tensor<B, D>; 3],
        grad: Tensor<B, D>,
    ) -> [Tensor<B, D>; 3] {
        let grad: FlexTensor = cast(primitive(grad));
        let grad = grad.to_contiguous();
        let mut tensors =
            [parameter, moment_1, moment_2].map(|tensor| own(cast(primitive(tensor))));
        let [p, m, v] = tensors.each_mut().map(|tensor| tensor.storage_mut::<f32>());
        self.compute([p, m, v], grad.storage());
        tensors.map(|tensor| Tensor::from_primitive(TensorPrimitive::Float(cast(tensor))))
    }

    fn compute(self, [p, m, v]: [&mut [f32]; 3], g: &[f32]) {
        let outputs = [(p, ROW), (m, ROW), (v, ROW)];
        for_pieces(4 * g.len(), g.len().div_ceil(ROW), outputs, |first, [p, m, v]| {
            step(self, p, m, v, &g[first * ROW..]);
        });
    }
}

/// A contiguous tensor that nothing else holds: the same one where it is that.
fn own(tensor: FlexTensor) -> FlexTensor {
    let contiguous = tensor.to_contiguous();
    drop(tensor);
    if contiguous.is_unique() {
        return contiguous;
    }
    let from = values(&contiguous);
    let mut to = Fresh::new(from.len());
    let pieces = to.pieces(64 * ROW).zip(from.chunks(64 * ROW)).collect();
    share(from.len(), pieces, |_, (to, from)| to.zeroed().copy_from_slice(from));
    tensor_of(to.finish(), contiguous.layout().shape().clone())
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn step(numbers: AdamWStep, p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
    let AdamWStep { lr, keep, betas: (beta_1, beta_2), epsilon, time } = numbers;
    let (lr, keep, time) = (lr as f32, keep as f32, time as i32);
    let corrections = (1.0 / (1.0 - beta_1.powi(time)), 1.0 / (1.0 - beta_2.powi(time)));
    for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
        *m = *m * beta_1 + g * (1.0 - beta_1);
        *v = *v * beta_2 + g * g * (1.0 - beta_2);
        let root = (*v * corrections.1).sqrt() + epsilon;
        *p = *p * keep - *m * corrections.0 / root * lr;
    }
}
