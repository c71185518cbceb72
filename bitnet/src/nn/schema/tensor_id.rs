//! The tensors of a model in a file: their shapes, and their names in Hugging Face checkpoints and
//! in GGUF.

use super::{
    EMBEDDING, HEAD, LAST_NORM, LINEARS, LinearEntry, LinearRole, NORMS, Names, NormEntry, NormRole,
};
use crate::nn::BitNetTransformerConfig;

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
    /// A part of a linear of a block.
    Linear { block: usize, role: LinearRole, part: LinearPart },
    /// The gains of a norm of a block.
    Norm { block: usize, role: NormRole },
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
            let norms = NormRole::all(config).map(move |role| Self::Norm { block, role });
            let linears = LinearRole::all(config).flat_map(move |role| {
                let bias = config.bias.then_some(LinearPart::Bias);
                let parts = bias.into_iter().chain([LinearPart::Weight]);
                parts.map(move |part| Self::Linear { block, role, part })
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
            Self::Norm { role, .. } => vec![role.features(config)],
            Self::Linear { role, part, .. } => {
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
        matches!(self, Self::Linear { part: LinearPart::Weight, .. })
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
            Self::Linear { block, role, part: LinearPart::Weight } => {
                Some(Self::Linear { block, role, part: LinearPart::Scale })
            }
            _ => None,
        }
    }

    /// Its name in Hugging Face checkpoints.
    pub(crate) fn hf_name(self) -> String {
        let of_block = |block, name, part| format!("{}{block}.{name}.{part}", HF_NAMING.blocks);
        match self {
            Self::Embedding => format!("{}.weight", EMBEDDING.hf),
            Self::LastNorm => format!("{}.weight", LAST_NORM.hf),
            Self::Head => format!("{}.weight", HEAD.hf),
            Self::Norm { block, role } => of_block(block, role.entry().hf_name, "weight"),
            Self::Linear { block, role, part } => of_block(block, role.hf_name(), part.hf_name()),
        }
    }

    /// Its name in GGUF; `None` if it has none there.
    pub(crate) fn gguf_name(self) -> Option<String> {
        let of_block = |block, name, part| format!("{}{block}.{name}.{part}", GGUF_NAMING.blocks);
        Some(match self {
            Self::Embedding => format!("{}.weight", EMBEDDING.gguf),
            Self::LastNorm => format!("{}.weight", LAST_NORM.gguf),
            Self::Head => format!("{}.weight", HEAD.gguf),
            Self::Norm { block, role } => of_block(block, role.entry().gguf_name?, "weight"),
            Self::Linear { block, role, part } => {
                of_block(block, role.entry().gguf_name, part.gguf_name()?)
            }
        })
    }

    /// The tensor of a name in Hugging Face checkpoints.
    pub(crate) fn of_hf_name(name: &str) -> Option<Self> {
        Self::of_name(name, &HF_NAMING)
    }

    /// The tensor of a name in GGUF.
    pub(crate) fn of_gguf_name(name: &str) -> Option<Self> {
        Self::of_name(name, &GGUF_NAMING)
    }

    fn of_name(name: &str, naming: &Naming) -> Option<Self> {
        let (path, end) = name.rsplit_once('.')?;
        let others =
            [(EMBEDDING, Self::Embedding), (LAST_NORM, Self::LastNorm), (HEAD, Self::Head)];
        if let Some((_, tensor)) = others.iter().find(|(names, _)| (naming.other)(names) == path) {
            return (end == "weight").then_some(*tensor);
        }
        let (block, path) = path.strip_prefix(naming.blocks)?.split_once('.')?;
        // As it is written, so that no two names are of one tensor.
        let block = block.parse().ok().filter(|number: &usize| number.to_string() == block)?;
        if let Some(norm) = NORMS.iter().find(|norm| (naming.norm)(norm) == Some(path)) {
            return (end == "weight").then_some(Self::Norm { block, role: norm.role });
        }
        let linear = LINEARS.iter().find(|linear| (naming.linear)(linear) == path)?;
        let part = LinearPart::ALL.into_iter().find(|&part| (naming.part)(part) == Some(end))?;
        Some(Self::Linear { block, role: linear.role, part })
    }
}

/// How files of one kind name tensors.
struct Naming {
    /// What the names of blocks begin with.
    blocks: &'static str,
    linear: fn(&LinearEntry) -> &'static str,
    norm: fn(&NormEntry) -> Option<&'static str>,
    part: fn(LinearPart) -> Option<&'static str>,
    other: fn(&Names) -> &'static str,
}

const HF_NAMING: Naming = Naming {
    blocks: "model.layers.",
    linear: |linear| linear.hf_name,
    norm: |norm| Some(norm.hf_name),
    part: |part| Some(part.hf_name()),
    other: |names| names.hf,
};

const GGUF_NAMING: Naming = Naming {
    blocks: "blk.",
    linear: |linear| linear.gguf_name,
    norm: |norm| norm.gguf_name,
    part: LinearPart::gguf_name,
    other: |names| names.gguf,
};

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
        assert_eq!(of_head, TensorId::Norm { block: 0, role: NormRole::Queries });
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
