//! Causal attention: `softmax(q · kᵀ) · v`, where a query attends to the keys up to its own
//! position (arXiv 1706.03762).

use burn::tensor::{Bool, Tensor, backend::Backend};

#[cfg(feature = "flex")]
use super::{flex, is_on};
use super::{matmul::matmul, reciprocal};
use crate::precision::Precision;

/// The attention of some queries.
///
/// # Shapes
/// - `q`: `[batch, kv_heads, group · seq, dim_head]`, divided by √dim_head; the output has the same
///   shape. The query in row `i` stands at position `start + i mod seq`.
/// - `k`, `v`: `[batch, kv_heads, start + seq, dim_head]`
pub(crate) fn causal_attention<B: Backend>(
    precision: Precision,
    [q, k, v]: [Tensor<B, 4>; 3],
    seq: usize,
    start: usize,
) -> Tensor<B, 4> {
    #[cfg(feature = "flex")]
    if is_on::<burn_flex::Flex, _, _>(&q) {
        return flex::causal_attention(q, k, v, seq, start, precision == Precision::Bf16);
    }
    let scores = matmul(precision, q, k.swap_dims(2, 3));
    let scores = match seq {
        1 => scores,
        _ => mask_future(scores, seq, start),
    };
    // A softmax whose division comes after the product with the values, where there is less to
    // divide.
    let highest = scores.clone().detach().max_dim(3);
    let weights = (scores - highest).exp();
    let total = weights.clone().sum_dim(3);
    matmul(precision, weights, v) * reciprocal(total)
}

/// Sets the scores of keys after their query to −∞.
///
/// # Shapes
/// - `scores`: `[batch, kv_heads, group · seq, start + seq]`; the output has the same shape.
fn mask_future<B: Backend>(scores: Tensor<B, 4>, seq: usize, start: usize) -> Tensor<B, 4> {
    let shape @ [batch, heads, queries, keys] = scores.dims();
    let future = Tensor::<B, 2, Bool>::tril_mask([seq, keys], start as i64, &scores.device());
    let mask = Tensor::<B, 2>::zeros([seq, keys], &scores.device())
        .mask_fill(future, f32::NEG_INFINITY)
        .repeat_dim(0, queries / seq)
        .reshape([1, queries * keys]);
    // Flat rows, and a sum in place of a fill: nothing to do in the backward pass.
    (scores.reshape([batch * heads, queries * keys]) + mask).reshape(shape)
}
