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
