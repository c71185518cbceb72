use burn::{
    module::Module,
    tensor::{Tensor, backend::Backend},
};

use super::{
    BitLinear, BitNetTransformerConfig, Observer, RmsNorm,
    bit_linear::project,
    kv_cache::LayerCache,
    schema::{LinearRole, NormRole},
};
use crate::{
    ops::{
        Columns, quantized_linear::LinearInput, rotate::Positions, self_attention::SelfAttention,
    },
    precision::Precision,
};

/// What the tokens of a forward pass attend to.
pub(super) enum Context<'a, B: Backend> {
    /// Whole sequences, from position 0 on.
    Whole(&'a Positions<B>),
    /// The tokens in KV caches, too. The segments are the rows of the batch, one after the other.
    Cached(Vec<Segment<'a, B>>),
}

/// New tokens of sequences that share a cache, and so have as many tokens before them.
pub(super) struct Segment<'a, B: Backend> {
    pub(super) batch: usize,
    pub(super) seq: usize,
    pub(super) positions: &'a Positions<B>,
    pub(super) cache: &'a mut LayerCache<B>,
}

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
        let &BitNetTransformerConfig { heads, kv_heads, dim_head, .. } = config;
        Self {
            q_proj: config.linear(LinearRole::Queries).init(device),
            k_proj: config.linear(LinearRole::Keys).init(device),
            v_proj: config.linear(LinearRole::Values).init(device),
            o_proj: config.linear(LinearRole::Output).init(device),
            attn_sub_norm: config.norm(NormRole::AttentionOutput, device),
            q_norm: config.norm(NormRole::Queries, device),
            k_norm: config.norm(NormRole::Keys, device),
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
        context: Context<'_, B>,
        observer: Observer<'_, B>,
    ) -> Tensor<B, 3> {
        let shape @ [batch, seq, dim] = x.dims();
        let x = x.reshape([batch * seq, dim]);
        let input = LinearInput::new(x.clone()).with_norm(norm.map(RmsNorm::op));
        let projections = [&self.q_proj, &self.k_proj, &self.v_proj];
        observer.visit(&projections, &input);
        let qkv = project(projections, input);
        let attended = match context {
            Context::Whole(positions) => self.op().apply(qkv, seq, positions),
            Context::Cached(segments) => self.attend_cached(qkv, segments),
        };
        let sub_norm = self.attn_sub_norm.as_ref().map(RmsNorm::op);
        let input = LinearInput::new(attended).with_norm(sub_norm).with_residual(x);
        observer.visit(&[&self.o_proj], &input);
        project([&self.o_proj], input).joined().reshape(shape)
    }

    /// The attention of new tokens, `[all tokens, heads · dim_head]`.
    fn attend_cached(&self, qkv: Columns<B>, segments: Vec<Segment<'_, B>>) -> Tensor<B, 2> {
        let is_one = segments.len() == 1;
        let mut end = 0;
        let mut attended: Vec<_> = segments
            .into_iter()
            .map(|Segment { batch, seq, positions, cache }| {
                let rows = end..end + batch * seq;
                end = rows.end;
                let qkv = if is_one { qkv.clone() } else { qkv.rows(rows) };
                self.op().apply_with(qkv, seq, positions, |keys, values| {
                    cache.extend(positions.start, keys, values)
                })
            })
            .collect();
        if is_one { attended.remove(0) } else { Tensor::cat(attended, 0) }
    }

    fn op(&self) -> SelfAttention<B> {
        let norms = self.q_norm.as_ref().zip(self.k_norm.as_ref());
        SelfAttention {
            heads: self.heads,
            kv_heads: self.kv_heads,
            dim: self.dim_head,
            norms: norms.map(|(of_q, of_k)| [of_q.op(), of_k.op()]),
            precision: self.precision,
        }
    }
}
