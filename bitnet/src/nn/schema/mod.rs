//! The tensors of a model: one table of the linears and norms of a block, with their shapes and
//! their names in Hugging Face checkpoints and in GGUF. Everything that counts, names, reads or
//! writes weights goes by it.

mod tensor_id;

pub(crate) use tensor_id::{LinearPart, TensorId};

use super::{BitNetTransformerConfig, NormPlacement};

/// A linear of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinearRole {
    /// Queries of the attention.
    Queries,
    /// Keys of the attention.
    Keys,
    /// Values of the attention.
    Values,
    /// Output projection of the attention.
    Output,
    /// Gate of the feed-forward network.
    Gate,
    /// Up projection of the feed-forward network.
    Up,
    /// Down projection of the feed-forward network.
    Down,
}

/// A norm of a block, with learned gains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NormRole {
    /// Before the projections of queries, keys and values.
    Attention,
    /// Before the output projection.
    AttentionOutput,
    /// Before the projections into the feed-forward network.
    FeedForward,
    /// Before the down projection.
    Down,
    /// Of each query head.
    Queries,
    /// Of each key head.
    Keys,
}

/// A width that a configuration has.
#[derive(Debug, Clone, Copy)]
enum Width {
    Model,
    QueryHeads,
    KeyHeads,
    Head,
    Hidden,
}

/// A linear of a block: its shape, and its names there.
struct LinearEntry {
    role: LinearRole,
    inputs: Width,
    outputs: Width,
    /// In Hugging Face checkpoints.
    hf_name: &'static str,
    gguf_name: &'static str,
}

/// A norm of a block: its width, and its names there.
struct NormEntry {
    role: NormRole,
    features: Width,
    /// In Hugging Face checkpoints.
    hf_name: &'static str,
    /// GGUF has none for some.
    gguf_name: Option<&'static str>,
}

/// The names of a tensor that is in no block.
struct Names {
    /// In Hugging Face checkpoints.
    hf: &'static str,
    gguf: &'static str,
}

/// The linears, in the order of the forward pass.
const LINEARS: [LinearEntry; 7] = {
    use LinearRole::{Down, Gate, Keys, Output, Queries, Up, Values};
    use Width::{Hidden, KeyHeads, Model, QueryHeads};
    [
        linear(Queries, [Model, QueryHeads], "self_attn.q_proj", "attn_q"),
        linear(Keys, [Model, KeyHeads], "self_attn.k_proj", "attn_k"),
        linear(Values, [Model, KeyHeads], "self_attn.v_proj", "attn_v"),
        linear(Output, [QueryHeads, Model], "self_attn.o_proj", "attn_output"),
        linear(Gate, [Model, Hidden], "mlp.gate_proj", "ffn_gate"),
        linear(Up, [Model, Hidden], "mlp.up_proj", "ffn_up"),
        linear(Down, [Hidden, Model], "mlp.down_proj", "ffn_down"),
    ]
};

/// The norms, in the order in which files hold them.
const NORMS: [NormEntry; 6] = {
    use NormRole::{Attention, AttentionOutput, Down, FeedForward, Keys, Queries};
    use Width::{Head, Hidden, Model, QueryHeads};
    [
        norm(Attention, Model, "input_layernorm", Some("attn_norm")),
        norm(AttentionOutput, QueryHeads, "self_attn.attn_sub_norm", Some("attn_sub_norm")),
        norm(FeedForward, Model, "post_attention_layernorm", Some("ffn_norm")),
        norm(Down, Hidden, "mlp.ffn_sub_norm", Some("ffn_sub_norm")),
        norm(Queries, Head, "self_attn.q_norm", None),
        norm(Keys, Head, "self_attn.k_norm", None),
    ]
};

const EMBEDDING: Names = Names { hf: "model.embed_tokens", gguf: "token_embd" };
const LAST_NORM: Names = Names { hf: "model.norm", gguf: "output_norm" };
const HEAD: Names = Names { hf: "lm_head", gguf: "output" };

/// An entry of [`LINEARS`], in a line.
const fn linear(
    role: LinearRole,
    [inputs, outputs]: [Width; 2],
    hf_name: &'static str,
    gguf_name: &'static str,
) -> LinearEntry {
    LinearEntry { role, inputs, outputs, hf_name, gguf_name }
}

/// An entry of [`NORMS`], in a line.
const fn norm(
    role: NormRole,
    features: Width,
    hf_name: &'static str,
    gguf_name: Option<&'static str>,
) -> NormEntry {
    NormEntry { role, features, hf_name, gguf_name }
}

impl Width {
    fn of(self, config: &BitNetTransformerConfig) -> u128 {
        let of_heads = |heads: usize| heads as u128 * config.dim_head as u128;
        match self {
            Self::Model => config.dim as u128,
            Self::QueryHeads => of_heads(config.heads),
            Self::KeyHeads => of_heads(config.kv_heads),
            Self::Head => config.dim_head as u128,
            Self::Hidden => config.ff_dim as u128,
        }
    }
}

impl LinearRole {
    /// The linears of a block of `config`, in the order of the forward pass.
    pub(crate) fn all(config: &BitNetTransformerConfig) -> impl Iterator<Item = Self> + use<> {
        let gated = config.feed_forward.is_gated();
        LINEARS.iter().map(|entry| entry.role).filter(move |&role| gated || role != Self::Gate)
    }

    fn entry(self) -> &'static LinearEntry {
        &LINEARS[self as usize]
    }

    /// Inputs and outputs, wide enough for products of sizes that are not yet validated.
    pub(crate) fn wide_shape(self, config: &BitNetTransformerConfig) -> [u128; 2] {
        let LinearEntry { inputs, outputs, .. } = self.entry();
        [inputs.of(config), outputs.of(config)]
    }

    /// Inputs and outputs.
    pub(crate) fn shape(self, config: &BitNetTransformerConfig) -> [usize; 2] {
        self.wide_shape(config).map(|size| size as usize)
    }

    /// The name in its block, as in Hugging Face checkpoints.
    pub(crate) fn hf_name(self) -> &'static str {
        self.entry().hf_name
    }
}

impl NormRole {
    /// The norms of a block of `config`, in the order in which files hold them.
    pub(crate) fn all(config: &BitNetTransformerConfig) -> impl Iterator<Item = Self> + use<'_> {
        NORMS.iter().map(|entry| entry.role).filter(|role| role.is_in(config))
    }

    /// Whether blocks of `config` have it.
    pub(crate) fn is_in(self, config: &BitNetTransformerConfig) -> bool {
        match self {
            Self::Queries | Self::Keys => config.qk_norm,
            _ => config.norms == NormPlacement::SubNorm,
        }
    }

    /// Whether it stands before the second linear of attention or feed-forward network, where
    /// models other than BitNet have none.
    pub(crate) fn is_sub_norm(self) -> bool {
        matches!(self, Self::AttentionOutput | Self::Down)
    }

    fn entry(self) -> &'static NormEntry {
        &NORMS[self as usize]
    }

    /// Number of gains, wide enough for sizes that are not yet validated.
    pub(crate) fn wide_features(self, config: &BitNetTransformerConfig) -> u128 {
        self.entry().features.of(config)
    }

    /// Number of gains.
    pub(crate) fn features(self, config: &BitNetTransformerConfig) -> usize {
        self.wide_features(config) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_where_their_roles_say() {
        assert!(LINEARS.iter().all(|entry| entry.role.entry().role == entry.role));
        assert!(NORMS.iter().all(|entry| entry.role.entry().role == entry.role));
    }
}
