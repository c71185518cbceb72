use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};
use multiversion::multiversion;

use super::{
    fresh::zeros,
    kernel::{compute, primitive, tensor, values},
    rows::share,
};
use crate::float::sum;
use crate::ops::autodiff::DifferentiableOp;

/// Elements that are one piece of work.
const PIECE: usize = 1 << 14;

/// The mean magnitude of all elements, as a tensor of one element: in one pass.
pub(crate) fn mean_magnitude<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    compute::<B, _, 1, D>(MeanMagnitude, [primitive(x)])
}

/// The same of a slice: infinite or NaN if an element is.
pub(super) fn mean(values: &[f32]) -> f32 {
    let pieces = values.chunks(PIECE).collect();
    let parts = share(values.len(), pieces, |_, piece| f64::from(magnitudes(piece)));
    (parts.into_iter().sum::<f64>() / values.len() as f64) as f32
}

#[derive(Debug, Clone)]
struct MeanMagnitude;

impl DifferentiableOp<Flex, 1> for MeanMagnitude {
    type Saved = FlexTensor;

    fn forward(&self, [x]: [FlexTensor; 1]) -> (FlexTensor, FlexTensor) {
        let shape = vec![1; x.layout().shape().num_dims()];
        (tensor(vec![mean(values(&x))], shape), x)
    }

    fn backward(&self, x: FlexTensor, grad: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let from = values(&x);
        let slope = values(&grad)[0] / from.len() as f32;
        let mut dx = zeros(from.len());
        let pieces = dx.chunks_mut(PIECE).zip(from.chunks(PIECE)).collect();
        share(from.len(), pieces, |_, (dx, from)| {
            for (dx, &x) in dx.iter_mut().zip(from) {
                *dx = if x == 0.0 { 0.0 } else { slope * x.signum() };
            }
        });
        [Some(tensor(dx, x.layout().shape().clone()))]
    }
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn magnitudes(values: &[f32]) -> f32 {
    sum([values], |[x]| x.abs())
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

    #[test]
    fn many_elements_and_bad_ones() {
        let mut values: Vec<f32> = (0..3 * PIECE + 5).map(|i| (i % 7) as f32 - 3.0).collect();
        let expected: f64 = values.iter().map(|x| f64::from(x.abs())).sum();
        assert_eq!(mean(&values), (expected / values.len() as f64) as f32);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            values[2 * PIECE] = bad;
            assert!(!mean(&values).is_finite());
        }
    }
}
