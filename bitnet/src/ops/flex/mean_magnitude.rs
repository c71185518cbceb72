use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};

use super::tensor::{compute, tensor, values};
use crate::{
    cpu::{
        parallel::par_map,
        reduce::{self, ELEMENTS_PER_TASK},
        uninit::zeros,
    },
    ops::autodiff::{DifferentiableOp, primitive},
};

/// The mean magnitude of all elements, as a tensor of one element: in one pass.
pub(in crate::ops) fn mean_magnitude<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    compute::<B, _, 1, D>(MeanMagnitude, [primitive(x)])
}

#[derive(Debug, Clone)]
struct MeanMagnitude;

impl DifferentiableOp<Flex, 1> for MeanMagnitude {
    type Saved = FlexTensor;

    fn forward(&self, [x]: [FlexTensor; 1]) -> (FlexTensor, FlexTensor) {
        let shape = vec![1; x.layout().shape().num_dims()];
        (tensor(vec![reduce::mean_magnitude(values(&x))], shape), x)
    }

    fn backward(&self, x: FlexTensor, grad: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let from = values(&x);
        let slope = values(&grad)[0] / from.len() as f32;
        let mut dx = zeros(from.len());
        let pieces = dx.chunks_mut(ELEMENTS_PER_TASK).zip(from.chunks(ELEMENTS_PER_TASK)).collect();
        par_map(from.len(), pieces, |_, (dx, from)| {
            for (dx, &x) in dx.iter_mut().zip(from) {
                *dx = if x == 0.0 { 0.0 } else { slope * x.signum() };
            }
        });
        [Some(tensor(dx, x.layout().shape().clone()))]
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Autodiff;
    use burn_flex::Flex;

    use super::*;

    #[test]
    fn mean_and_gradient_by_hand() {
        let device = Default::default();
        let x = Tensor::<Autodiff<Flex>, 2>::from_floats([[1.0, -2.0], [0.0, 5.0]], &device);
        let x = x.require_grad();
        let mean = mean_magnitude(x.clone());
        assert_eq!(mean.dims(), [1, 1]);
        let grads = mean.clone().mul_scalar(8.0).backward();
        assert_eq!(mean.into_scalar(), 2.0);
        let grad = x.grad(&grads).expect("tracked").into_data();
        assert_eq!(grad.to_vec::<f32>().expect("floats"), [2.0, -2.0, 0.0, 2.0]);
    }
}
