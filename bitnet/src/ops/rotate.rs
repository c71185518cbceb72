//! Rotary position embedding (RoFormer, arXiv 2104.09864) of the *half-split* kind: feature `i` is
//! paired with `i + d/2`, and the pair `(a, b)` becomes `(a·cos − b·sin, b·cos + a·sin)`.

use burn::tensor::{Tensor, backend::Backend};

#[cfg(feature = "flex")]
use super::{flex, is_on};

/// Positions of the tokens of a forward pass, with the rotations of queries and keys there.
/// Computed once for all layers.
pub(crate) struct Positions<B: Backend> {
    /// Position of the first token.
    pub(crate) start: usize,
    /// Cosines and sines, `[seq, dim_head]`, both halves alike.
    #[cfg_attr(
        not(any(feature = "flex", feature = "cuda")),
        allow(dead_code, reason = "composed of other tables")
    )]
    pub(crate) angles: [Tensor<B, 2>; 2],
    /// Rotates queries, and divides them by √dim_head for the attention scores.
    pub(crate) queries: Rotation<B>,
    /// Rotates keys.
    pub(crate) keys: Rotation<B>,
}

/// Rotations of all heads at some positions.
pub(crate) struct Rotation<B: Backend> {
    /// `[1, seq · heads · dim_head]`
    pub(crate) cos: Tensor<B, 2>,
    /// `[1, seq · heads · dim_head]`
    pub(crate) sin: Tensor<B, 2>,
    /// Sends the halves `(a, b)` of a head to `(−b, a)`: a signed permutation, `[d, d]`.
    ///
    /// A product with it is exact, and cheaper than taking the halves apart and together again,
    /// forward and backward.
    pub(crate) swap: Tensor<B, 2>,
}

impl<B: Backend> Rotation<B> {
    /// Rotates heads, and brings them before the sequence.
    ///
    /// # Shapes
    /// - `x`: `[batch, seq, heads, dim_head]`
    /// - output: `[batch, heads, seq, dim_head]`
    pub(super) fn apply(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        #[cfg(feature = "flex")]
        if is_on::<burn_flex::Flex, _, _>(&x) {
            return flex::rotate(x, self.cos.clone(), self.sin.clone());
        }
        let [batch, seq, heads, dim_head] = x.dims();
        let rows = [batch, seq * heads * dim_head];
        let swapped = x.clone().reshape([batch * seq * heads, dim_head]).matmul(self.swap.clone());
        let rotated = x.reshape(rows) * self.cos.clone() + swapped.reshape(rows) * self.sin.clone();
        rotated.reshape([batch, seq, heads, dim_head]).swap_dims(1, 2)
    }
}
