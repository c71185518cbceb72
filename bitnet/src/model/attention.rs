use burn::{
    module::Module,
    tensor::{Bool, Tensor, backend::Backend},
};

use super::{BitNetTransformerConfig, Observer, cache::LayerCache, rope::Positions};
use crate::{
    fused,
    linear::{BitLinear, Joint},
    norm::RmsNorm,
    precision::Precision,
    reciprocal::reciprocal,
};

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
    #[module(skip)]
    precision: Precision,
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
            precision: Precision::F32,
        }
    }

    pub(super) fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
        self.projections_mut().into_iter().for_each(|proj| proj.set_precision(precision));
    }

    pub(super) fn set_quant_strength(&mut self, strength: f64) {
        self.projections_mut().into_iter().for_each(|proj| proj.set_quant_strength(strength));
    }

    pub(super) fn pack(&mut self) {
        self.projections_mut().into_iter().for_each(BitLinear::pack_weight);
    }

    fn projections_mut(&mut self) -> [&mut BitLinear<B>; 4] {
        let Self { q_proj, k_proj, v_proj, o_proj, .. } = self;
        [q_proj, k_proj, v_proj, o_proj]
    }

    /// Attends from each token to itself and the tokens before it, after the norm, and adds that
    /// to the input.
    ///
    /// # Shapes
    /// - `x`: `[batch, seq, dim]`; the output has the same shape.
    pub(super) fn forward(
        &self,
        x: Tensor<B, 3>,
        norm: Option<&RmsNorm<B>>,
        positions: &Positions<B>,
        cache: Option<&mut LayerCache<B>>,
        observer: Observer<'_, B>,
    ) -> Tensor<B, 3> {
        if cache.is_none()
            && !observer.looks()
            && let Some(y) = self.forward_joint(&x, norm, positions)
        {
            return y;
        }
        let residual = x.clone();
        residual + self.mix(normalized(norm, x), positions, cache, observer)
    }

    /// The same in three operations, where these are fused.
    fn forward_joint(
        &self,
        x: &Tensor<B, 3>,
        norm: Option<&RmsNorm<B>>,
        positions: &Positions<B>,
    ) -> Option<Tensor<B, 3>> {
        let shape @ [batch, seq, dim] = x.dims();
        let x = x.clone().reshape([batch * seq, dim]);
        let projections = Joint::new([&self.q_proj, &self.k_proj, &self.v_proj], norm, &x)?;
        let output = Joint::new([&self.o_proj], self.attn_sub_norm.as_ref(), &x)?;
        let norms = match (&self.q_norm, &self.k_norm) {
            (Some(q), Some(k)) if q.eps() == k.eps() => Some([q, k]),
            (None, None) => None,
            _ => return None,
        };
        let attention = fused::SelfAttention {
            seq,
            heads: [self.heads, self.kv_heads],
            dim: self.dim_head,
            norm: norms.map(|[q, _]| q.eps()),
            bf16: self.precision == Precision::Bf16,
        };
        let qkv = projections.apply(x.clone());
        let [cos, sin] = positions.angles();
        let mixed = match norms {
            Some([q, k]) => {
                let [q, k] = [q, k].map(|norm| norm.weight.val().unsqueeze());
                attention.apply([qkv, cos, sin, q, k])
            }
            None => attention.apply([qkv, cos, sin]),
        };
        Some(output.add_to(x, mixed, None).reshape(shape))
    }

    /// The attention without norm and sum.
    fn mix(
        &self,
        x: Tensor<B, 3>,
        positions: &Positions<B>,
        cache: Option<&mut LayerCache<B>>,
        observer: Observer<'_, B>,
    ) -> Tensor<B, 3> {
        let [batch, seq, dim] = x.dims();
        let split = |x: Tensor<B, 2>, heads| x.reshape([batch, seq, heads, self.dim_head]);

        let x = x.reshape([batch * seq, dim]);
        observer.see(&[&self.q_proj, &self.k_proj, &self.v_proj], &x);
        let quantized = self.q_proj.quantize_input(x.clone());
        let [for_k, for_v] =
            [&self.k_proj, &self.v_proj].map(|proj| proj.share_input(&self.q_proj, &x, &quantized));
        let q = split(self.q_proj.product(quantized), self.heads);
        let k = split(self.k_proj.product(for_k), self.kv_heads);
        let v = split(self.v_proj.product(for_v), self.kv_heads);

        let q = positions.queries.apply(normalized(self.q_norm.as_ref(), q));
        let k = positions.keys.apply(normalized(self.k_norm.as_ref(), k));
        let v = swap_heads(v);
        let (k, v) = match cache {
            Some(cache) => cache.extend(positions.start, k, v),
            None => (k, v),
        };

        // The queries of a group stand one after the other along the sequence, so that keys and
        // values need not be repeated for each.
        let group = self.heads / self.kv_heads;
        let q = match group {
            1 => q,
            _ => q.reshape([batch, self.kv_heads, group * seq, self.dim_head]),
        };
        let mixed = if fused::applies(&q) {
            fused::causal_attention(
                q,
                k,
                v,
                seq,
                positions.start,
                self.precision == Precision::Bf16,
            )
        } else {
            let scores = self.precision.matmul(q, k.swap_dims(2, 3));
            let scores = match seq {
                1 => scores,
                _ => mask_future(scores, group, positions.start),
            };
            // A softmax whose division comes after the product with the values, where there is
            // less to divide.
            let highest = scores.clone().detach().max_dim(3);
            let weights = (scores - highest).exp();
            let total = weights.clone().sum_dim(3);
            self.precision.matmul(weights, v) * reciprocal(total)
        };
        let mixed = swap_heads(mixed.reshape([batch, self.heads, seq, self.dim_head])).reshape([
            batch,
            seq,
            self.heads * self.dim_head,
        ]);

        let mixed = normalized(self.attn_sub_norm.as_ref(), mixed);
        observer.see(&[&self.o_proj], &mixed);
        self.o_proj.forward(mixed)
    }
}

/// Swaps heads and sequence.
fn swap_heads<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    if fused::applies(&x) { fused::swap_heads(x) } else { x.swap_dims(1, 2) }
}

/// Applies a norm that may be absent.
pub(super) fn normalized<B: Backend, const D: usize>(
    norm: Option<&RmsNorm<B>>,
    x: Tensor<B, D>,
) -> Tensor<B, D> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

/// Lowers to −∞ what a query may not look at.
///
/// # Shapes
/// - `scores`: `[batch, kv_heads, group · seq, start + seq]`; the output has the same shape.
fn mask_future<B: Backend>(scores: Tensor<B, 4>, group: usize, start: usize) -> Tensor<B, 4> {
    let shape @ [batch, heads, queries, keys] = scores.dims();
    let seq = queries / group;
    let future = Tensor::<B, 2, Bool>::tril_mask([seq, keys], start as i64, &scores.device());
    let mask = Tensor::<B, 2>::zeros([seq, keys], &scores.device())
        .mask_fill(future, f32::NEG_INFINITY)
        .repeat_dim(0, group)
        .reshape([1, queries * keys]);
    // Flat rows, and a sum in place of a fill: nothing to do in the backward pass.
    (scores.reshape([batch * heads, queries * keys]) + mask).reshape(shape)
}
