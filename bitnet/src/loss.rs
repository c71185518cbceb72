//! Losses of next-token predictions: cross entropy, and distance from a teacher's predictions.

use burn::tensor::{Int, Tensor, activation::log_softmax, backend::Backend};

use crate::ops::{mean, token_losses};

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
    token_losses::token_losses(logits, targets.reshape([tokens])).reshape([batch, seq])
}

/// Mean nats per token, `[1]`: the training loss.
///
/// # Shapes
/// As [`token_losses`].
pub fn cross_entropy<B: Backend>(logits: Tensor<B, 3>, targets: Tensor<B, 2, Int>) -> Tensor<B, 1> {
    mean::mean(token_losses(logits, targets))
}

/// Distance of a student's predictions from a teacher's, `[1]` (arXiv 1503.02531): the mean over
/// all tokens of `KL(teacher ‖ student)` in nats, where both are `softmax(logits / temperature)`,
/// times `temperature²`, which keeps the size of its gradient independent of the temperature.
///
/// # Shapes
/// - `student`, `teacher`: logits `[batch, seq, vocab]`
pub fn distillation<B: Backend>(
    student: Tensor<B, 3>,
    teacher: Tensor<B, 3>,
    temperature: f64,
) -> Tensor<B, 1> {
    let [batch, seq, vocab] = student.dims();
    let [student, teacher] = [student, teacher]
        .map(|logits| log_softmax(logits.reshape([batch * seq, vocab]).div_scalar(temperature), 1));
    let divergence = (teacher.clone().exp() * (teacher - student)).sum_dim(1);
    divergence.mean().mul_scalar(temperature * temperature)
}
