//! Loops over floats that the engine runs between products, on the fastest instructions.

use super::kernel::{self, Kernels};

/// `eˣ` to two units in the last place, the same everywhere.
pub(crate) fn exp(x: f32) -> f32 {
    kernel::exp(x)
}

/// `Σ x²`.
pub(crate) fn sum_squares(x: &[f32]) -> f32 {
    Kernels::best().sum_squares(x)
}

/// Attention of one query to as many keys and values as there are `scores`, whose content is
/// overwritten. Keys and values begin `stride` apart.
pub(crate) fn attend(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    stride: usize,
    scores: &mut [f32],
    out: &mut [f32],
) {
    let kernels = Kernels::best();
    kernels.scores(query, keys, stride, scores);
    let total = kernels.softmax(scores);
    kernels.mix(scores, values, stride, out);
    // There is less to divide than among the weights.
    let share = total.recip();
    out.iter_mut().for_each(|out| *out *= share);
}
