//! RMSNorm of rows (arXiv 1910.07467), and its gradient.

use super::{float::sum, vectorized};

/// `1 / √(mean(x²) + ε)` of a row.
#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum([x], |[x]| x * x) / x.len() as f32 + eps).sqrt()
}

vectorized! {
    /// Writes normalised rows, and the factor of each, `1 / √(mean(x²) + ε)`.
    pub(crate) fn normalize(
        x: &[f32],
        gains: &[f32],
        eps: f32,
        y: &mut [f32],
        factors: &mut [f32],
    ) {
        let width = gains.len();
        let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
        for ((y, x), factor) in rows.zip(factors) {
            *factor = inverse_rms(x, eps);
            for ((y, x), gain) in y.iter_mut().zip(x).zip(gains) {
                *y = x * *factor * gain;
            }
        }
    }

    /// Normalises a row in place, with gains if there are any.
    pub(crate) fn normalize_row(x: &mut [f32], gains: Option<&[f32]>, eps: f32) {
        let factor = inverse_rms(x, eps);
        match gains {
            Some(gains) => {
                for (x, gain) in x.iter_mut().zip(gains) {
                    *x = *x * factor * gain;
                }
            }
            None => x.iter_mut().for_each(|x| *x *= factor),
        }
    }
}

vectorized! {
    /// Replaces the gradient of rows of the output by that of the input; adds their part of that of
    /// the gains.
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
