//! Heads before the sequence, or back after it.

use burn::tensor::{Tensor, backend::Backend};

#[cfg(feature = "flex")]
use super::{flex, is_on};

/// Swaps the two middle dimensions.
///
/// # Shapes
/// - `x`: `[batch, a, b, dim_head]`
/// - output: `[batch, b, a, dim_head]`
pub(super) fn swap_heads<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    #[cfg(feature = "flex")]
    if is_on::<burn_flex::Flex, _, _>(&x) {
        return flex::swap_heads(x);
    }
    x.swap_dims(1, 2)
}
