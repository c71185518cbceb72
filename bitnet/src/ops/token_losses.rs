//! Losses of tokens: `−log softmax(logits)[target]`, in nats.

use burn::tensor::{Int, Tensor, activation::log_softmax, backend::Backend};

#[cfg(feature = "cuda")]
use super::cube;
#[cfg(feature = "flex")]
use super::{flex, is_on};

/// The loss of each row.
///
/// # Shapes
/// - `logits`: `[tokens, vocab]`
/// - `targets`: `[tokens]`
/// - output: `[tokens]`
pub(crate) fn token_losses<B: Backend>(
    logits: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    #[cfg(feature = "flex")]
    if is_on::<burn_flex::Flex, _, _>(&logits) {
        return flex::token_losses(logits, targets);
    }
    #[cfg(feature = "cuda")]
    if cube::is_on_gpu(&logits) {
        return cube::token_losses(logits, targets);
    }
    let [tokens] = targets.dims();
    log_softmax(logits, 1).gather(1, targets.reshape([tokens, 1])).neg().reshape([tokens])
}
