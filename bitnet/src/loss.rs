//! Cross entropy of next-token predictions.

use burn::tensor::{Int, Tensor, activation::log_softmax, backend::Backend};

use crate::fused;

/// Nats of every target token, `−log p(target)`.
///
/// # Shapes
/// - `logits`: `[batch, seq, vocab]`
/// - `targets`: `[batch, seq]`
/// - output: `[batch, seq]`
pub fn token_losses<B: Backend>(logits: Tensor<B, 3>, targets: Tensor<B, 2, Int>) -> Tensor<B, 2> {
    let [batch, seq, vocab] = logits.dims();
    let tokens = batch * seq;
    let logits = logits.reshape([tokens, vocab]);
    if fused::applies(&logits) {
        return fused::token_losses(logits, targets.reshape([tokens])).reshape([batch, seq]);
    }
    log_softmax(logits, 1).gather(1, targets.reshape([tokens, 1])).neg().reshape([batch, seq])
}

/// Mean nats a token, `[1]`: the training loss.
///
/// # Shapes
/// As [`token_losses`].
pub fn cross_entropy<B: Backend>(logits: Tensor<B, 3>, targets: Tensor<B, 2, Int>) -> Tensor<B, 1> {
    token_losses(logits, targets).mean()
}
