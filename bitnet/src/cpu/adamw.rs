//! A step of AdamW.

#[cfg(feature = "flex")]
use super::vectorized;

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
}

#[cfg(feature = "flex")]
vectorized! {
    /// Steps parameters and both of their moments, given the gradients, in step
    /// `time`, from 1.
    pub(crate) fn step(
        numbers: AdamWStep,
        time: usize,
        p: &mut [f32],
        m: &mut [f32],
        v: &mut [f32],
        g: &[f32],
    ) {
        let AdamWStep { lr, keep, betas: (beta_1, beta_2), epsilon } = numbers;
        let (lr, keep, time) = (lr as f32, keep as f32, time as i32);
        let corrections = (1.0 / (1.0 - beta_1.powi(time)), 1.0 / (1.0 - beta_2.powi(time)));
        for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
            *m = *m * beta_1 + g * (1.0 - beta_1);
            *v = *v * beta_2 + g * g * (1.0 - beta_2);
            let root = (*v * corrections.1).sqrt() + epsilon;
            *p = *p * keep - *m * corrections.0 / root * lr;
        }
    }
}
