use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};
use multiversion::multiversion;

use super::{
    fresh::zeros,
    kernel::{as_matrix, compute, primitive, tensor, values},
    rows::{add_up, for_pieces},
};
use crate::float::sum;
use crate::ops::autodiff::DifferentiableOp;

/// RMSNorm with gains, over the last dimension.
///
/// # Shapes
/// - `x`: `[..., features]`; the output has the same shape
/// - `gains`: `[features]`
pub(crate) fn rms_norm<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    gains: Tensor<B, 1>,
    eps: f64,
) -> Tensor<B, D> {
    compute::<B, _, 2, D>(RmsNorm { eps: eps as f32 }, [primitive(x), primitive(gains)])
}

#[derive(Debug, Clone)]
struct RmsNorm {
    eps: f32,
}

#[derive(Debug, Clone)]
struct Saved {
    x: FlexTensor,
    gains: FlexTensor,
    /// `1 / √(mean(x²) + ε)` of each row.
    factors: Vec<f32>,
}

impl DifferentiableOp<Flex, 2> for RmsNorm {
    type Saved = Saved;

    fn forward(&self, [x, gains]: [FlexTensor; 2]) -> (FlexTensor, Saved) {
        let (rows, width) = as_matrix(&x);
        let (from, g) = (values(&x), values(&gains));
        let mut y = zeros(rows * width);
        let mut factors = vec![0.0; rows];
        for_pieces(y.len(), rows, [(&mut y, width), (&mut factors, 1)], |first, [y, factors]| {
            normalize(&from[first * width..], g, self.eps, y, factors);
        });
        (tensor(y, x.layout().shape().clone()), Saved { x, gains, factors })
    }

    fn backward(
        &self,
        Saved { x, gains, factors }: Saved,
        mut grad: FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let (rows, width) = as_matrix(&x);
        let (from, g) = (values(&x), values(&gains));
        // In place, where nobody else has this gradient.
        let dx = grad.storage_mut();
        let partial = for_pieces(2 * from.len(), rows, [(dx, width)], |first, [dx]| {
            let range = first * width..first * width + dx.len();
            let mut for_gains = vec![0.0; width];
            pull_back(&from[range], g, &factors[first..], dx, &mut for_gains);
            for_gains
        });
        let dg = wanted[1].then(|| tensor(add_up(partial, width), [width]));
        [wanted[0].then_some(grad), dg]
    }
}

/// Writes normalised rows, and the factor of each.
#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn normalize(x: &[f32], gains: &[f32], eps: f32, y: &mut [f32], factors: &mut [f32]) {
    let width = gains.len();
    let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
    for ((y, x), factor) in rows.zip(factors) {
        let mean = sum([x], |[x]| x * x) / width as f32;
        *factor = 1.0 / (mean + eps).sqrt();
        for ((y, x), gain) in y.iter_mut().zip(x).zip(gains) {
            *y = x * *factor * gain;
        }
    }
}

/// Replaces the gradient of rows of the output by that of the input; adds their part of that of the
/// gains.
#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn pull_back(
    x: &[f32],
    gains: &[f32],
    factors: &[f32],
    grad: &mut [f32],
    for_gains: &mut [f32],
) {
    let width = gains.len();
    let rows = x.chunks_exact(width).zip(grad.chunks_exact_mut(width));
    for ((x, grad), &factor) in rows.zip(factors) {
        let dot = sum([x, grad, gains], |[x, grad, gain]| x * grad * gain);
        let along = dot * factor * factor / width as f32;
        for ((grad, for_gain), (x, gain)) in
            grad.iter_mut().zip(&mut *for_gains).zip(x.iter().zip(gains))
        {
            *for_gain += *grad * x * factor;
            *grad = factor * (*grad * gain - x * along);
        }
    }
}
