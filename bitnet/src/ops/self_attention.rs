//! Self-attention: from the outputs of the projections of queries, keys and values to the input of
//! the output projection. Norm of each head of queries and keys, if there is one; rotary positions;
//! causal attention with grouped queries, where the key/value head `j` serves the query heads `j·g
//! .. (j+1)·g` with `g = heads / kv_heads`.

use burn::tensor::{Tensor, backend::Backend};

pub(crate) use super::arguments::SelfAttention;
#[cfg(feature = "cuda")]
use super::cube;
use super::{
    Columns, causal_attention::causal_attention, rotate::Positions, swap_heads::swap_heads,
};
#[cfg(feature = "flex")]
use super::{flex, is_on};

impl<B: Backend> SelfAttention<B> {
    /// The attention of whole sequences.
    ///
    /// # Shapes
    /// - `qkv`: `[batch · seq, heads · dim]` and twice `[batch · seq, kv_heads · dim]`
    /// - output: `[batch · seq, heads · dim]`
    pub(crate) fn apply(
        self,
        qkv: Columns<B>,
        seq: usize,
        positions: &Positions<B>,
    ) -> Tensor<B, 2> {
        #[cfg(feature = "flex")]
        if let Columns::Joined(qkv, _) = &qkv
            && is_on::<burn_flex::Flex, _, _>(qkv)
        {
            return flex::self_attention(self, qkv.clone(), seq, positions.angles.clone());
        }
        #[cfg(feature = "cuda")]
        if let Columns::Joined(qkv, _) = &qkv
            && cube::is_on_gpu(qkv)
        {
            return cube::self_attention(self, qkv.clone(), seq, positions.angles.clone());
        }
        self.apply_with(qkv, seq, positions, |k, v| (k, v))
    }

    /// As [`apply`](Self::apply) for new tokens of sequences: `extend` takes their keys and
    /// values and returns those of all tokens, `[batch, kv_heads, seq, dim]`.
    pub(crate) fn apply_with(
        self,
        qkv: Columns<B>,
        seq: usize,
        positions: &Positions<B>,
        extend: impl FnOnce(Tensor<B, 4>, Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4>),
    ) -> Tensor<B, 2> {
        let Self { heads, kv_heads, dim, norms, precision } = self;
        let qkv: [_; 3] = qkv.apart().try_into().expect("queries, keys and values");
        let [tokens, _] = qkv[0].dims();
        let batch = tokens / seq;
        let [q, k, v] = qkv.map(|x| {
            let [_, width] = x.dims();
            x.reshape([batch, seq, width / dim, dim])
        });
        let [q, k] = match norms {
            Some([of_q, of_k]) => [of_q.apply(q), of_k.apply(k)],
            None => [q, k],
        };
        let (q, k) = (positions.queries.apply(q), positions.keys.apply(k));
        let (k, v) = extend(k, swap_heads(v));
        // The queries of a group stand one after the other along the sequence, so that keys and
        // values need not be repeated for each.
        let q = match heads / kv_heads {
            1 => q,
            group => q.reshape([batch, kv_heads, group * seq, dim]),
        };
        let attended = causal_attention(precision, [q, k, v], seq, positions.start);
        swap_heads(attended.reshape([batch, heads, seq, dim])).reshape([tokens, heads * dim])
    }
}
