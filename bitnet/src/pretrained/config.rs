use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{PretrainedError, WeightDtype};
use crate::{
    nn::{BitNetTransformerConfig, FeedForwardKind, NormPlacement},
    quant::{ActivationQuant, WeightQuant},
    tokenizer::Tokenizer,
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
    /// Without it, as many as query heads.
    #[serde(default)]
    num_key_value_heads: Option<usize>,
    #[serde(default)]
    head_dim: Option<usize>,
    hidden_act: String,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    #[serde(default)]
    rope_theta: Option<f64>,
    /// Where newer versions of `transformers` keep it.
    #[serde(default, skip_serializing)]
    rope_parameters: Option<RopeParameters>,
    #[serde(default, skip_serializing)]
    rope_scaling: Option<RopeParameters>,
    #[serde(default, skip_serializing)]
    attention_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default = "default_init_std")]
    initializer_range: f64,
    /// Without it, `transformers` computes in full precision.
    #[serde(default, skip_serializing)]
    quantization_config: Option<Quantization>,
    /// What that architecture has no field for.
    #[serde(default)]
    bitnet: Option<Extension>,
}

/// The rotary embedding, where it is told apart.
#[derive(Serialize, Deserialize, Default)]
struct RopeParameters {
    #[serde(default)]
    rope_theta: Option<f64>,
    #[serde(default, alias = "type")]
    rope_type: Option<String>,
}

/// How `transformers` quantises; its own defaults.
#[derive(Serialize, Deserialize)]
struct Quantization {
    quant_method: String,
    #[serde(default = "default_linear_class")]
    linear_class: String,
    #[serde(default)]
    use_rms_norm: bool,
}

fn default_linear_class() -> String {
    "bitlinear".into()
}

/// What is done with the scale beside packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScaleMeaning {
    /// Codes are multiplied by it (`autobitlinear`).
    Multiply,
    /// Codes are divided by it (`bitlinear`).
    Divide,
}

/// How the weights of a folder that is written are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Latent weights, quantised when they are used.
    Latent,
    /// Codes, and scales beside them.
    Packed,
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
pub(super) fn to_json(config: &BitNetTransformerConfig, dtype: WeightDtype, form: Form) -> String {
    let hf = HfConfig {
        model_type: "bitnet".into(),
        vocab_size: config.num_tokens,
        hidden_size: config.dim,
        intermediate_size: config.ff_dim,
        num_hidden_layers: config.depth,
        num_attention_heads: config.heads,
        num_key_value_heads: Some(config.kv_heads),
        head_dim: Some(config.dim_head),
        hidden_act: activation_name(config.feed_forward).into(),
        max_position_embeddings: config.max_seq_len,
        rms_norm_eps: config.norm_eps,
        rope_theta: Some(config.rope_theta),
        rope_parameters: None,
        rope_scaling: None,
        attention_bias: false,
        quantization_config: None,
        tie_word_embeddings: config.tie_embeddings,
        initializer_range: config.init_std,
        bitnet: Some(Extension {
            norms: config.norms,
            quant: config.quant,
            activation: config.activation,
            group_size: config.group_size,
            qk_norm: config.qk_norm,
            bias: config.bias,
        }),
    };
    let mut value = json!(hf);
    value["torch_dtype"] = json!(dtype.torch_name());
    if unlike_hf(config).is_none() {
        value["architectures"] = json!(["BitNetForCausalLM"]);
        value["quantization_config"] = json!({
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": match form {
                Form::Latent => "online",
                Form::Packed => "offline",
            },
        });
    }
    format!("{value:#}\n")
}

/// Reads the `config.json` of one of some `model_type`s.
pub(super) fn from_json(
    json: &str,
    model_types: &[&str],
) -> Result<(BitNetTransformerConfig, ScaleMeaning), PretrainedError> {
    let value: Value = serde_json::from_str(json)?;
    let hf: HfConfig = serde_json::from_value(value)?;
    let unsupported = |reason: String| Err(PretrainedError::Unsupported(reason));
    if !model_types.contains(&hf.model_type.as_str()) {
        let known = model_types.join("\", \"");
        let found = hf.model_type;
        return unsupported(format!("model_type is \"{found}\", only \"{known}\" can be read"));
    }
    if hf.attention_bias {
        return unsupported("attention_bias is true; biases of the attention alone".into());
    }
    let ropes = || hf.rope_scaling.iter().chain(&hf.rope_parameters);
    if let Some(kind) =
        ropes().filter_map(|rope| rope.rope_type.as_deref()).find(|&kind| kind != "default")
    {
        return unsupported(format!("rope_type is \"{kind}\", only \"default\" can be read"));
    }
    let Some(rope_theta) = hf.rope_theta.or_else(|| ropes().find_map(|rope| rope.rope_theta))
    else {
        return Err(<serde_json::Error as serde::de::Error>::missing_field("rope_theta").into());
    };
    let scales = match &hf.quantization_config {
        None => ScaleMeaning::Multiply,
        Some(Quantization { quant_method, .. }) if quant_method != "bitnet" => {
            return unsupported(format!("quant_method is \"{quant_method}\""));
        }
        Some(Quantization { use_rms_norm: true, .. }) => {
            return unsupported("use_rms_norm is true; norms in the linears with gains".into());
        }
        Some(Quantization { linear_class, .. }) => match linear_class.as_str() {
            "autobitlinear" => ScaleMeaning::Multiply,
            "bitlinear" => ScaleMeaning::Divide,
            other => return unsupported(format!("linear_class is \"{other}\"")),
        },
    };
    let bitnet = hf.bitnet.unwrap_or_else(|| Extension {
        quant: match hf.quantization_config {
            Some(_) => WeightQuant::Ternary,
            None => WeightQuant::None,
        },
        ..Extension::default()
    });
    let head_dim = match hf.head_dim {
        Some(head_dim) => head_dim,
        None => hf.hidden_size / hf.num_attention_heads.max(1),
    };
    let config = BitNetTransformerConfig {
        num_tokens: hf.vocab_size,
        dim: hf.hidden_size,
        depth: hf.num_hidden_layers,
        heads: hf.num_attention_heads,
        kv_heads: hf.num_key_value_heads.unwrap_or(hf.num_attention_heads),
        dim_head: head_dim,
        ff_dim: hf.intermediate_size,
        max_seq_len: hf.max_position_embeddings,
        rope_theta,
        norm_eps: hf.rms_norm_eps,
        feed_forward: feed_forward(&hf.hidden_act)?,
        norms: bitnet.norms,
        quant: bitnet.quant,
        activation: bitnet.activation,
        group_size: bitnet.group_size,
        tie_embeddings: hf.tie_word_embeddings,
        qk_norm: bitnet.qk_norm,
        bias: bitnet.bias,
        init_std: hf.initializer_range,
    };
    config.validate_as(hf_name)?;
    Ok((config, scales))
}

/// What `config.json` calls a field of a configuration.
fn hf_name(field: &'static str) -> &'static str {
    match field {
        "num_tokens" => "vocab_size",
        "dim" => "hidden_size",
        "depth" => "num_hidden_layers",
        "heads" => "num_attention_heads",
        "kv_heads" => "num_key_value_heads",
        "dim_head" => "head_dim",
        "ff_dim" => "intermediate_size",
        "max_seq_len" => "max_position_embeddings",
        "norm_eps" => "rms_norm_eps",
        "init_std" => "initializer_range",
        same => same,
    }
}

/// What `BitNetForCausalLM` does not compute as this configuration does, if there is something, and
/// the setting with which it does.
pub(super) fn unlike_hf(config: &BitNetTransformerConfig) -> Option<String> {
    unlike(&[
        (
            config.norms == NormPlacement::SubNorm,
            "norms other than \"sub-norm\"",
            "model.norms = \"sub-norm\"",
        ),
        (
            config.feed_forward.is_gated(),
            "feed-forward networks without a gate",
            "model.feed_forward = \"relu2-gated\" or \"swiglu\"",
        ),
        (
            config.quant == WeightQuant::Ternary,
            "quant other than \"ternary\"",
            "model.quant = \"ternary\"",
        ),
        (
            config.activation == ActivationQuant::Int8PerToken,
            "activation other than \"int8-per-token\"",
            "model.activation = \"int8-per-token\"",
        ),
        (config.group_size.is_none(), "scales of groups", "no model.group_size"),
        (!config.qk_norm, "norms of queries and keys", "model.qk_norm = false"),
        (!config.bias, "biases", "model.bias = false"),
    ])
}

/// Of things that may be unlike, each with the setting that it takes, the first that is.
pub(super) fn unlike(things: &[(bool, &str, &str)]) -> Option<String> {
    let &(_, what, needs) = things.iter().find(|(is_alike, ..)| !is_alike)?;
    Some(format!("{what}; it takes models trained with {needs}"))
}

pub(super) fn activation_name(kind: FeedForwardKind) -> &'static str {
    match kind {
        FeedForwardKind::Relu2Gated => "relu2",
        FeedForwardKind::Swiglu => "silu",
        FeedForwardKind::Gelu => "gelu",
    }
}

pub(super) fn feed_forward(name: &str) -> Result<FeedForwardKind, PretrainedError> {
    [FeedForwardKind::Relu2Gated, FeedForwardKind::Swiglu, FeedForwardKind::Gelu]
        .into_iter()
        .find(|&kind| activation_name(kind) == name)
        .ok_or_else(|| {
            PretrainedError::Unsupported(format!(
                "hidden_act is \"{name}\", only \"relu2\", \"silu\" and \"gelu\" can be read"
            ))
        })
}

/// Whether a tokenizer is that of a model, as far as numbers tell.
pub(super) fn check_vocabulary(
    tokenizer: &dyn Tokenizer,
    config: &BitNetTransformerConfig,
) -> Result<(), PretrainedError> {
    match (tokenizer.vocab_size(), config.num_tokens) {
        (tokenizer, model) if tokenizer == model => Ok(()),
        (tokenizer, model) => Err(PretrainedError::VocabularyMismatch { tokenizer, model }),
    }
}
