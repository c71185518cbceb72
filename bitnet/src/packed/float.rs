//! Loops over floats that the engine runs between products, on the fastest instructions.

use super::kernel::Kernels;

/// `Σ x²`.
pub(crate) fn sum_squares(x: &[f32]) -> f32 {
    Kernels::best().sum_squares(x)
}
