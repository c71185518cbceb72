use burn::{
    module::Module,
    nn::RmsNorm,
    tensor::{Bool, Tensor, activation::softmax, backend::Backend},
};

use super::{BitNetTransformerConfig, RotaryEmbedding, cache::LayerCache};
use crate::linear::BitLinear;

/// Causal self-attention with rotary positions and grouped queries: key/value head `j` serves the
/// query heads `j·g .. (j+1)·g`, where `g = heads / kv_heads`.
///
/// The projections are quantised; scores, softmax and their product with the values are not
/// (b1, §2.1).
#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    /// Queries: `dim` to `heads · dim_head`.
    pub q_proj: BitLinear<B>,
    /// Keys: `dim` to `kv_heads · dim_head`.
    pub k_proj: BitLinear<B>,
    /// Values: `dim` to `kv_heads · dim_head`.
    pub v_proj: BitLinear<B>,
    /// Output: `heads · dim_head` to `dim`.
    pub o_proj: BitLinear<B>,
    /// Norm before `o_proj` (2B4T), where blocks have their own norms.
    pub attn_sub_norm: Option<RmsNorm<B>>,
    /// Norm of each query head, where enabled.
    pub q_norm: Option<RmsNorm<B>>,
    /// Norm of each key head, where enabled.
    pub k_norm: Option<RmsNorm<B>>,
    heads: usize,
    kv_heads: usize,
    dim_head: usize,
}

impl<B: Backend> Attention<B> {
    pub(super) fn new(config: &BitNetTransformerConfig, device: &B::Device) -> Self {
        let &BitNetTransformerConfig { dim, heads, kv_heads, dim_head, .. } = config;
        let head_norm = || config.qk_norm.then(|| config.gain_norm(dim_head, device));
        Self {
            q_proj: config.linear(dim, heads * dim_head).init(device),
            k_proj: config.linear(dim, kv_heads * dim_head).init(device),
            v_proj: config.linear(dim, kv_heads * dim_head).init(device),
            o_proj: config.linear(heads * dim_head, dim).init(device),
            attn_sub_norm: config.block_norm(heads * dim_head, device),
            q_norm: head_norm(),
            k_norm: head_norm(),
            heads,
            kv_heads,
            dim_head,
        }
    }

    /// Attends from each token to itself and the tokens before it.
    ///
    /// # Shapes
    /// - `x`: `[batch, seq, dim]`, tokens at positions `start .. start + seq`
    /// - output: `[batch, seq, dim]`
    pub(super) fn forward(
        &self,
        x: Tensor<B, 3>,
        rope: &RotaryEmbedding<B>,
        start: usize,
        cache: Option<&mut LayerCache<B>>,
    ) -> Tensor<B, 3> {
        let [batch, seq, _] = x.dims();
        let q = self.split_heads(self.q_proj.forward(x.clone()), self.heads);
        let k = self.split_heads(self.k_proj.forward(x.clone()), self.kv_heads);
        let v = self.split_heads(self.v_proj.forward(x), self.kv_heads);

        let q = rope.forward(normalized(&self.q_norm, q), start);
        let k = rope.forward(normalized(&self.k_norm, k), start);
        let (k, v) = match cache {
            Some(cache) => cache.extend(start, k, v),
            None => (k, v),
        };

        // The queries of a group stand one after the other along the sequence, so that keys and
        // values need not be repeated for each.
        let group = self.heads / self.kv_heads;
        let grouped = [batch, self.kv_heads, group * seq, self.dim_head];
        let scale = (self.dim_head as f64).sqrt().recip();
        let scores = q.mul_scalar(scale).reshape(grouped).matmul(k.swap_dims(2, 3));
        let scores = if seq == 1 {
            scores
        } else {
            let mask = causal_mask::<B>(group, seq, start, &scores.device());
            scores.mask_fill(mask, f32::NEG_INFINITY)
        };
        let mixed = softmax(scores, 3)
            .matmul(v)
            .reshape([batch, self.heads, seq, self.dim_head])
            .swap_dims(1, 2)
            .reshape([batch, seq, self.heads * self.dim_head]);

        self.o_proj.forward(normalized(&self.attn_sub_norm, mixed))
    }

    /// `[batch, seq, heads · dim_head]` to `[batch, heads, seq, dim_head]`.
    fn split_heads(&self, x: Tensor<B, 3>, heads: usize) -> Tensor<B, 4> {
        let [batch, seq, _] = x.dims();
        x.reshape([batch, seq, heads, self.dim_head]).swap_dims(1, 2)
    }
}

/// Applies a norm that may be absent.
pub(super) fn normalized<B: Backend, const D: usize>(
    norm: &Option<RmsNorm<B>>,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

/// True where a query may not look: `[1, 1, group · seq, start + seq]`.
fn causal_mask<B: Backend>(
    group: usize,
    seq: usize,
    start: usize,
    device: &B::Device,
) -> Tensor<B, 4, Bool> {
    let mask = Tensor::<B, 2, Bool>::tril_mask([seq, start + seq], start as i64, device);
    mask.unsqueeze::<3>().repeat_dim(0, group).reshape([1, 1, group * seq, start + seq])
}
