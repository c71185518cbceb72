use burn::{
    module::Module,
    tensor::{Tensor, backend::Backend},
};

use super::{
    Attention, BitLinear, BitNetTransformerConfig, FeedForward, Observer, RmsNorm,
    attention::Context,
    schema::{LinearRole, NormRole},
};
use crate::precision::Precision;

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
            input_layernorm: config.norm(NormRole::Attention, device),
            self_attn: Attention::new(config, device),
            post_attention_layernorm: config.norm(NormRole::FeedForward, device),
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

    /// The linear of a role, if the block has it.
    pub(crate) fn linear(&self, role: LinearRole) -> Option<&BitLinear<B>> {
        let Attention { q_proj, k_proj, v_proj, o_proj, .. } = &self.self_attn;
        let FeedForward { gate_proj, up_proj, down_proj, .. } = &self.mlp;
        match role {
            LinearRole::Queries => Some(q_proj),
            LinearRole::Keys => Some(k_proj),
            LinearRole::Values => Some(v_proj),
            LinearRole::Output => Some(o_proj),
            LinearRole::Gate => gate_proj.as_ref(),
            LinearRole::Up => Some(up_proj),
            LinearRole::Down => Some(down_proj),
        }
    }

    /// The norm of a role, if the block has it.
    pub(crate) fn norm(&self, role: NormRole) -> Option<&RmsNorm<B>> {
        let norm = match role {
            NormRole::Attention => &self.input_layernorm,
            NormRole::AttentionOutput => &self.self_attn.attn_sub_norm,
            NormRole::FeedForward => &self.post_attention_layernorm,
            NormRole::Down => &self.mlp.ffn_sub_norm,
            NormRole::Queries => &self.self_attn.q_norm,
            NormRole::Keys => &self.self_attn.k_norm,
        };
        norm.as_ref()
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
