//! Cross entropy of a row of logits, and its gradient.

use super::{
    float::{exp, maximum, sum},
    vectorized,
};

vectorized! {
    /// `log Σ exp(x)` of a row.
    pub(crate) fn log_sum_exp(row: &[f32]) -> f32 {
        let highest = maximum(row);
        highest + sum([row], |[x]| exp(x - highest)).ln()
    }
}

vectorized! {
    /// `factor · exp(x − total)` of each element.
    pub(crate) fn scaled_softmax(row: &[f32], total: f32, factor: f32, to: &mut [f32]) {
        for (to, x) in to.iter_mut().zip(row) {
            *to = exp(x - total) * factor;
        }
    }
}
