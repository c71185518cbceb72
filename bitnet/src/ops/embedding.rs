//! The token embedding: rows of a table. The gradient of a row is the sum of those of the tokens
//! that took it.

use burn::tensor::{Int, Tensor, backend::Backend, module};

/// The rows of `tokens`.
///
/// # Shapes
/// - `weight`: `[num_tokens, dim]`
/// - `tokens`: `[batch, seq]`
/// - output: `[batch, seq, dim]`
pub(crate) fn embedding<B: Backend>(
    weight: Tensor<B, 2>,
    tokens: Tensor<B, 2, Int>,
) -> Tensor<B, 3> {
    #[cfg(feature = "cuda")]
    if super::cube::is_on_gpu(&weight) {
        return super::cube::embedding(weight, tokens);
    }
    module::embedding(weight, tokens)
}
