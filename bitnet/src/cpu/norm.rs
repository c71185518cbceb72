//! RMSNorm of rows (arXiv 1910.07467), and its gradient.

use super::{float::sum, vectorized};

vectorized! {
    /// Writes normalised rows, and the factor of each.
    pub(crate) fn normalize(x: &[f32], gains: &[f32], eps: f32, y: &mut [f32], factors: &mut [f32]) {
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
}

vectorized! {
    /// Replaces the gradient of rows of the output by that of the input; adds their part of that of the
    /// gains.
    pub(crate) fn backward(
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
}
