use burn::{
    module::Module,
    tensor::{Tensor, backend::Backend},
};

use super::{Attention, BitNetTransformerConfig, FeedForward, Observer, attention::Context};
use crate::{linear::BitLinear, norm::RmsNorm, precision::Precision};

/// One decoder block:
///
/// ```text
/// h = x + o_proj(attn_sub_norm(attention(input_layernorm(x))))
/// y = h + down_proj(ffn_sub_norm(hidden(post_attention_layernorm(h))))
/// ```
///
/// Norms are absent where every linear has its own ([`NormPlacement`](super::NormPlacement)).
#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    /// Norm before the attention.
    pub input_layernorm: Option<RmsNorm<B>>,
    /// The attention.
    pub self_attn: Attention<B>,
    /// Norm before the feed-forward network.
    pub post_attention_layernorm: Option<RmsNorm<B>>,
    /// The feed-forward network.
    pub mlp: FeedForward<B>,
}

impl<B: Backend> Block<B> {
    pub(super) fn new(config: &BitNetTransformerConfig, device: &B::Device) -> Self {
        Self {
            input_layernorm: config.block_norm(config.dim, device),
            self_attn: Attention::new(config, device),
            post_attention_layernorm: config.block_norm(config.dim, device),
            mlp: FeedForward::new(config, device),
        }
    }

    pub(super) fn set_precision(&mut self, precision: Precision) {
        self.self_attn.set_precision(precision);
        self.mlp.set_precision(precision);
    }

    pub(super) fn set_quant_strength(&mut self, strength: f64) {
        self.self_attn.set_quant_strength(strength);
        self.mlp.set_quant_strength(strength);
    }

    /// The linears, by their path in the block, in the order in which a forward pass comes to them.
    pub(super) fn linears(&self) -> impl Iterator<Item = (&'static str, &BitLinear<B>)> {
        let Attention { q_proj, k_proj, v_proj, o_proj, .. } = &self.self_attn;
        let FeedForward { gate_proj, up_proj, down_proj, .. } = &self.mlp;
        let attention = [
            ("self_attn.q_proj", q_proj),
            ("self_attn.k_proj", k_proj),
            ("self_attn.v_proj", v_proj),
            ("self_attn.o_proj", o_proj),
        ];
        let gate = gate_proj.as_ref().map(|gate_proj| ("mlp.gate_proj", gate_proj));
        let rest = [("mlp.up_proj", up_proj), ("mlp.down_proj", down_proj)];
        attention.into_iter().chain(gate).chain(rest)
    }

    pub(super) fn pack(&mut self) {
        self.self_attn.pack();
        self.mlp.pack();
    }

    /// # Shapes
    /// - `x`: `[batch, seq, dim]`; the output has the same shape.
    pub(super) fn forward(
        &self,
        x: Tensor<B, 3>,
        context: Context<'_, B>,
        observer: Observer<'_, B>,
    ) -> Tensor<B, 3> {
        let norm = self.input_layernorm.as_ref();
        let h = self.self_attn.forward(x, norm, context, observer);
        self.mlp.forward(h, self.post_attention_layernorm.as_ref(), observer)
    }
}
