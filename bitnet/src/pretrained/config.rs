use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{PretrainedError, WeightDtype};
use crate::{
    model::{BitNetTransformerConfig, FeedForwardKind, NormPlacement},
    quant::{ActivationQuant, WeightQuant},
};

/// The fields of a Hugging Face `config.json` that shape the model. Others are ignored.
#[derive(Serialize, Deserialize)]
struct HfConfig {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    #[serde(default)]
    head_dim: Option<usize>,
    hidden_act: String,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    rope_theta: f64,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default = "default_init_std")]
    initializer_range: f64,
    /// What that architecture has no field for.
    #[serde(default)]
    bitnet: Extension,
}

fn default_init_std() -> f64 {
    0.02
}

/// The project's own section of `config.json`; its defaults are the released 2B4T model.
#[derive(Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Extension {
    norms: NormPlacement,
    quant: WeightQuant,
    activation: ActivationQuant,
    group_size: Option<usize>,
    qk_norm: bool,
    bias: bool,
}

/// Writes `config.json`.
pub(super) fn to_json(config: &BitNetTransformerConfig, dtype: WeightDtype) -> String {
    let hf = HfConfig {
        model_type: "bitnet".into(),
        vocab_size: config.num_tokens,
        hidden_size: config.dim,
        intermediate_size: config.ff_dim,
        num_hidden_layers: config.depth,
        num_attention_heads: config.heads,
        num_key_value_heads: config.kv_heads,
        head_dim: Some(config.dim_head),
        hidden_act: activation_name(config.feed_forward).into(),
        max_position_embeddings: config.max_seq_len,
        rms_norm_eps: config.norm_eps,
        rope_theta: config.rope_theta,
        tie_word_embeddings: config.tie_embeddings,
        initializer_range: config.init_std,
        bitnet: Extension {
            norms: config.norms,
            quant: config.quant,
            activation: config.activation,
            group_size: config.group_size,
            qk_norm: config.qk_norm,
            bias: config.bias,
        },
    };
    let mut value = json!(hf);
    value["torch_dtype"] = json!(dtype.torch_name());
    if is_hf_architecture(config) {
        value["architectures"] = json!(["BitNetForCausalLM"]);
        value["quantization_config"] = json!({
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "online",
        });
    }
    format!("{value:#}\n")
}

/// Reads `config.json`.
pub(super) fn from_json(json: &[u8]) -> Result<BitNetTransformerConfig, PretrainedError> {
    let value: Value = serde_json::from_slice(json)?;
    let hf: HfConfig = serde_json::from_value(value)?;
    if hf.model_type != "bitnet" {
        return Err(PretrainedError::Unsupported(format!(
            "model_type is \"{}\", only \"bitnet\" can be read",
            hf.model_type
        )));
    }
    let head_dim = match hf.head_dim {
        Some(head_dim) => head_dim,
        None => hf.hidden_size / hf.num_attention_heads.max(1),
    };
    let config = BitNetTransformerConfig {
        num_tokens: hf.vocab_size,
        dim: hf.hidden_size,
        depth: hf.num_hidden_layers,
        heads: hf.num_attention_heads,
        kv_heads: hf.num_key_value_heads,
        dim_head: head_dim,
        ff_dim: hf.intermediate_size,
        max_seq_len: hf.max_position_embeddings,
        rope_theta: hf.rope_theta,
        norm_eps: hf.rms_norm_eps,
        feed_forward: feed_forward(&hf.hidden_act)?,
        norms: hf.bitnet.norms,
        quant: hf.bitnet.quant,
        activation: hf.bitnet.activation,
        group_size: hf.bitnet.group_size,
        tie_embeddings: hf.tie_word_embeddings,
        qk_norm: hf.bitnet.qk_norm,
        bias: hf.bitnet.bias,
        init_std: hf.initializer_range,
    };
    config.validate()?;
    Ok(config)
}

/// Whether `BitNetForCausalLM` computes what this configuration does.
fn is_hf_architecture(config: &BitNetTransformerConfig) -> bool {
    config.norms == NormPlacement::SubNorm
        && config.feed_forward.is_gated()
        && config.quant == WeightQuant::Ternary
        && config.activation == ActivationQuant::Int8PerToken
        && config.group_size.is_none()
        && !config.qk_norm
        && !config.bias
}

fn activation_name(kind: FeedForwardKind) -> &'static str {
    match kind {
        FeedForwardKind::Relu2Gated => "relu2",
        FeedForwardKind::Swiglu => "silu",
        FeedForwardKind::Gelu => "gelu",
    }
}

fn feed_forward(name: &str) -> Result<FeedForwardKind, PretrainedError> {
    [FeedForwardKind::Relu2Gated, FeedForwardKind::Swiglu, FeedForwardKind::Gelu]
        .into_iter()
        .find(|&kind| activation_name(kind) == name)
        .ok_or_else(|| {
            PretrainedError::Unsupported(format!(
                "hidden_act is \"{name}\", only \"relu2\", \"silu\" and \"gelu\" can be read"
            ))
        })
}
