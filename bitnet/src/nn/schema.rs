//! The tensors of a model: one table of the linears and norms of a block, with their shapes and
//! their names in Hugging Face checkpoints and in GGUF. Everything that counts, names, reads or
//! writes weights goes by it.

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

/// A linear: its role, inputs and outputs, and its names in a block.
struct LinearEntry(LinearRole, Width, Width, &'static str, &'static str);

/// A norm: its role, features, and its names in a block; GGUF has none for some.
struct NormEntry(NormRole, Width, &'static str, Option<&'static str>);

/// The linears, in the order of the forward pass.
const LINEARS: [LinearEntry; 7] = {
    use LinearRole::{Down, Gate, Keys, Output, Queries, Up, Values};
    use Width::{Hidden, KeyHeads, Model, QueryHeads};
    [
        LinearEntry(Queries, Model, QueryHeads, "self_attn.q_proj", "attn_q"),
        LinearEntry(Keys, Model, KeyHeads, "self_attn.k_proj", "attn_k"),
        LinearEntry(Values, Model, KeyHeads, "self_attn.v_proj", "attn_v"),
        LinearEntry(Output, QueryHeads, Model, "self_attn.o_proj", "attn_output"),
        LinearEntry(Gate, Model, Hidden, "mlp.gate_proj", "ffn_gate"),
        LinearEntry(Up, Model, Hidden, "mlp.up_proj", "ffn_up"),
        LinearEntry(Down, Hidden, Model, "mlp.down_proj", "ffn_down"),
    ]
};

/// The norms, in the order in which files hold them.
const NORMS: [NormEntry; 6] = {
    use NormRole::{Attention, AttentionOutput, Down, FeedForward, Keys, Queries};
    use Width::{Head, Hidden, Model, QueryHeads};
    [
        NormEntry(Attention, Model, "input_layernorm", Some("attn_norm")),
        NormEntry(AttentionOutput, QueryHeads, "self_attn.attn_sub_norm", Some("attn_sub_norm")),
        NormEntry(FeedForward, Model, "post_attention_layernorm", Some("ffn_norm")),
        NormEntry(Down, Hidden, "mlp.ffn_sub_norm", Some("ffn_sub_norm")),
        NormEntry(Queries, Head, "self_attn.q_norm", None),
        NormEntry(Keys, Head, "self_attn.k_norm", None),
    ]
};

/// Embedding, last norm and output head, in Hugging Face checkpoints and in GGUF.
const EMBEDDING: [&str; 2] = ["model.embed_tokens", "token_embd"];
const LAST_NORM: [&str; 2] = ["model.norm", "output_norm"];
const HEAD: [&str; 2] = ["lm_head", "output"];

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
        LINEARS.iter().map(|entry| entry.0).filter(move |&role| gated || role != Self::Gate)
    }

    fn entry(self) -> &'static LinearEntry {
        &LINEARS[self as usize]
    }

    /// Inputs and outputs, wide enough for products of sizes that are not yet validated.
    pub(crate) fn wide_shape(self, config: &BitNetTransformerConfig) -> [u128; 2] {
        let LinearEntry(_, inputs, outputs, ..) = self.entry();
        [inputs.of(config), outputs.of(config)]
    }

    /// Inputs and outputs.
    pub(crate) fn shape(self, config: &BitNetTransformerConfig) -> [usize; 2] {
        self.wide_shape(config).map(|size| size as usize)
    }

    /// The path in its block, as in Hugging Face checkpoints.
    pub(crate) fn path(self) -> &'static str {
        self.entry().3
    }
}

impl NormRole {
    /// The norms of a block of `config`, in the order in which files hold them.
    pub(crate) fn all(config: &BitNetTransformerConfig) -> impl Iterator<Item = Self> + use<'_> {
        NORMS.iter().map(|entry| entry.0).filter(|role| role.is_in(config))
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
        self.entry().1.of(config)
    }

    /// Number of gains.
    pub(crate) fn features(self, config: &BitNetTransformerConfig) -> usize {
        self.wide_features(config) as usize
    }
}

/// A part of a linear in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinearPart {
    /// `[outputs, inputs]`; in Burn, `[inputs, outputs]`.
    Weight,
    /// Of codes in a file: what they are multiplied by.
    Scale,
    /// `[outputs]`
    Bias,
}

/// A tensor of a model in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TensorId {
    /// `[num_tokens, dim]`
    Embedding,
    /// Of a block.
    Linear(usize, LinearRole, LinearPart),
    /// The gains of a norm of a block.
    Norm(usize, NormRole),
    /// The gains of the norm before the output head, `[dim]`.
    LastNorm,
    /// `[num_tokens, dim]`, if it is not the embedding.
    Head,
}

impl TensorId {
    /// The tensors of a model of `config` but for scales, block after block: as they are asked for,
    /// so that a damaged configuration takes no memory.
    pub(crate) fn all(config: &BitNetTransformerConfig) -> impl Iterator<Item = Self> + use<'_> {
        let head = (!config.tie_embeddings).then_some(Self::Head);
        let blocks = (0..config.depth).flat_map(move |block| {
            let norms = NormRole::all(config).map(move |role| Self::Norm(block, role));
            let linears = LinearRole::all(config).flat_map(move |role| {
                let bias = config.bias.then_some(LinearPart::Bias);
                let parts = bias.into_iter().chain([LinearPart::Weight]);
                parts.map(move |part| Self::Linear(block, role, part))
            });
            norms.chain(linears)
        });
        [Self::Embedding].into_iter().chain(blocks).chain([Self::LastNorm]).chain(head)
    }

    /// Its shape in a file.
    pub(crate) fn shape(self, config: &BitNetTransformerConfig) -> Vec<usize> {
        match self {
            Self::Embedding | Self::Head => vec![config.num_tokens, config.dim],
            Self::LastNorm => vec![config.dim],
            Self::Norm(_, role) => vec![role.features(config)],
            Self::Linear(_, role, part) => {
                let [inputs, outputs] = role.shape(config);
                match part {
                    LinearPart::Weight => vec![outputs, inputs],
                    LinearPart::Scale => vec![1],
                    LinearPart::Bias => vec![outputs],
                }
            }
        }
    }

    /// The weights of all linears, in the order of the forward pass.
    pub(crate) fn linears(
        config: &BitNetTransformerConfig,
    ) -> impl Iterator<Item = Self> + use<'_> {
        Self::all(config).filter(|tensor| tensor.is_linear())
    }

    /// Whether it is the weight of a linear of a block.
    pub(crate) fn is_linear(self) -> bool {
        matches!(self, Self::Linear(_, _, LinearPart::Weight))
    }

    /// Whether it is embedding or output head.
    pub(crate) fn is_table(self) -> bool {
        matches!(self, Self::Embedding | Self::Head)
    }

    /// Whether Burn holds it transposed: `[inputs, outputs]`.
    pub(crate) fn is_transposed(self) -> bool {
        self.is_linear() || self == Self::Head
    }

    /// Of the weight of a linear, the scale beside its codes.
    pub(crate) fn scale(self) -> Option<Self> {
        match self {
            Self::Linear(block, role, LinearPart::Weight) => {
                Some(Self::Linear(block, role, LinearPart::Scale))
            }
            _ => None,
        }
    }

    /// Its name in Hugging Face checkpoints.
    pub(crate) fn hf_name(self) -> String {
        let of_block = |block, path, part| format!("model.layers.{block}.{path}.{part}");
        match self {
            Self::Embedding => format!("{}.weight", EMBEDDING[0]),
            Self::LastNorm => format!("{}.weight", LAST_NORM[0]),
            Self::Head => format!("{}.weight", HEAD[0]),
            Self::Norm(block, role) => of_block(block, role.entry().2, "weight"),
            Self::Linear(block, role, part) => of_block(block, role.path(), part.hf_name()),
        }
    }

    /// Its name in GGUF; `None` if it has none there.
    pub(crate) fn gguf_name(self) -> Option<String> {
        let of_block = |block, path, part| format!("blk.{block}.{path}.{part}");
        Some(match self {
            Self::Embedding => format!("{}.weight", EMBEDDING[1]),
            Self::LastNorm => format!("{}.weight", LAST_NORM[1]),
            Self::Head => format!("{}.weight", HEAD[1]),
            Self::Norm(block, role) => of_block(block, role.entry().3?, "weight"),
            Self::Linear(block, role, part) => of_block(block, role.entry().4, part.gguf_name()?),
        })
    }

    /// The tensor of a name in Hugging Face checkpoints.
    pub(crate) fn of_hf_name(name: &str) -> Option<Self> {
        let part = |part: LinearPart| Some(part.hf_name());
        Self::of_name(name, 0, "model.layers.", part, |norm| Some(norm.2), |linear| linear.3)
    }

    /// The tensor of a name in GGUF.
    pub(crate) fn of_gguf_name(name: &str) -> Option<Self> {
        Self::of_name(name, 1, "blk.", LinearPart::gguf_name, |norm| norm.3, |linear| linear.4)
    }

    fn of_name(
        name: &str,
        form: usize,
        blocks: &str,
        part_name: impl Fn(LinearPart) -> Option<&'static str>,
        norm_path: impl Fn(&NormEntry) -> Option<&'static str>,
        linear_path: impl Fn(&LinearEntry) -> &'static str,
    ) -> Option<Self> {
        let (path, end) = name.rsplit_once('.')?;
        let others = [
            (EMBEDDING[form], Self::Embedding),
            (LAST_NORM[form], Self::LastNorm),
            (HEAD[form], Self::Head),
        ];
        if let Some((_, tensor)) = others.into_iter().find(|(other, _)| *other == path) {
            return (end == "weight").then_some(tensor);
        }
        let (block, path) = path.strip_prefix(blocks)?.split_once('.')?;
        // As it is written, so that no two names are of one tensor.
        let block = block.parse().ok().filter(|number: &usize| number.to_string() == block)?;
        if let Some(norm) = NORMS.iter().find(|norm| norm_path(norm) == Some(path)) {
            return (end == "weight").then_some(Self::Norm(block, norm.0));
        }
        let linear = LINEARS.iter().find(|linear| linear_path(linear) == path)?;
        let part = LinearPart::ALL.into_iter().find(|&part| part_name(part) == Some(end))?;
        Some(Self::Linear(block, linear.0, part))
    }
}

impl LinearPart {
    const ALL: [Self; 3] = [Self::Weight, Self::Scale, Self::Bias];

    fn hf_name(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Scale => "weight_scale",
            Self::Bias => "bias",
        }
    }

    fn gguf_name(self) -> Option<&'static str> {
        match self {
            Self::Weight => Some("weight"),
            Self::Scale => Some("scale"),
            Self::Bias => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_where_their_roles_say() {
        assert!(LINEARS.iter().all(|entry| entry.0.entry().0 == entry.0));
        assert!(NORMS.iter().all(|entry| entry.0.entry().0 == entry.0));
    }

    #[test]
    fn names_come_back() {
        for (hf, gguf) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.layers.12.self_attn.q_proj.weight", "blk.12.attn_q.weight"),
            ("model.layers.0.mlp.down_proj.weight_scale", "blk.0.ffn_down.scale"),
            ("model.layers.3.self_attn.attn_sub_norm.weight", "blk.3.attn_sub_norm.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("lm_head.weight", "output.weight"),
        ] {
            let tensor = TensorId::of_hf_name(hf).unwrap();
            assert_eq!(TensorId::of_gguf_name(gguf), Some(tensor));
            assert_eq!(
                (tensor.hf_name().as_str(), tensor.gguf_name().as_deref()),
                (hf, Some(gguf))
            );
        }
        let of_head = TensorId::of_hf_name("model.layers.0.self_attn.q_norm.weight").unwrap();
        assert_eq!(of_head, TensorId::Norm(0, NormRole::Queries));
        assert_eq!(of_head.gguf_name(), None);
        for name in [
            "blk.0.attn_q.bias",
            "blk.0.attn_q.",
            "blk",
            "blk.00.attn_q.weight",
            "token_embd.scale",
        ] {
            assert_eq!(TensorId::of_gguf_name(name), None, "{name}");
        }
        for name in ["model.layers.0.mlp.up_proj", "model.layers.x.mlp.up_proj.weight"] {
            assert_eq!(TensorId::of_hf_name(name), None, "{name}");
        }
    }

    #[test]
    fn every_tensor_has_a_name_of_its_own() {
        let config = BitNetTransformerConfig {
            qk_norm: true,
            bias: true,
            tie_embeddings: false,
            ..BitNetTransformerConfig::new(10, 8, 2)
        };
        let tensors: Vec<TensorId> = TensorId::all(&config).collect();
        assert_eq!(tensors.len(), 2 * (6 + 2 * 7) + 3);
        for &tensor in &tensors {
            assert_eq!(TensorId::of_hf_name(&tensor.hf_name()), Some(tensor));
        }
        let sizes = tensors.iter().map(|tensor| tensor.shape(&config).iter().product::<usize>());
        assert_eq!(sizes.sum::<usize>() as u128, config.parameter_count());
    }
}
