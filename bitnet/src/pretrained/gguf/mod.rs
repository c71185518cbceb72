//! BitNet models in GGUF: which metadata is which field of a configuration, and which tensor is
//! which.

mod names;
mod settings;
mod tokenizer;

pub(super) use names::renamed;
pub(super) use settings::{settings, settings_fields};
pub(super) use tokenizer::{tokenizer, tokenizer_fields};

use super::{
    PretrainedError,
    config::{activation_name, feed_forward, unlike},
};
use crate::{
    formats::{
        Encoding, PRODUCER,
        gguf::{Field, Gguf},
    },
    nn::{BitNetTransformerConfig, FeedForwardKind},
};

/// Where a file says who wrote it.
const PRODUCER_KEY: &str = "general.quantized_by";
/// The architecture of llama.cpp: SiLU, unless `hidden_activation` says otherwise, which only newer
/// versions read.
const LLAMA_CPP_ARCHITECTURE: &str = "bitnet";
/// That of bitnet.cpp: relu².
const BITNET_CPP_ARCHITECTURE: &str = "bitnet-b1.58";

/// Whether a file was exported here.
pub(super) fn is_own(file: &Gguf) -> bool {
    file.text(PRODUCER_KEY) == Some(PRODUCER)
}

/// The configuration of a file.
pub(super) fn config(file: &Gguf) -> Result<BitNetTransformerConfig, PretrainedError> {
    let missing = |key: &str| PretrainedError::Gguf(format!("it has no usable \"{key}\""));
    let architecture = file
        .text("general.architecture")
        .filter(|name| [LLAMA_CPP_ARCHITECTURE, BITNET_CPP_ARCHITECTURE].contains(name))
        .ok_or_else(|| {
            let name = file.text("general.architecture").unwrap_or("none");
            PretrainedError::Gguf(format!(
                "its architecture is \"{name}\", \"{LLAMA_CPP_ARCHITECTURE}\" and \
                 \"{BITNET_CPP_ARCHITECTURE}\" can be read"
            ))
        })?;
    let key = |name: &str| format!("{architecture}.{name}");
    let size = |name: &str| file.integer(&key(name)).and_then(|n| usize::try_from(n).ok());
    let required = |name: &str| size(name).ok_or_else(|| missing(&key(name)));

    let dim = required("embedding_length")?;
    let heads = required("attention.head_count")?;
    let dim_head =
        size("attention.key_length").or(size("rope.dimension_count")).unwrap_or(dim / heads.max(1));
    if size("rope.dimension_count").is_some_and(|turned| turned != dim_head) {
        return Err(PretrainedError::Gguf("only a part of its heads is rotated".into()));
    }
    let factor = file.float(&key("rope.scaling.factor")).unwrap_or(1.0);
    let scaling = file.text(&key("rope.scaling.type")).unwrap_or("none");
    if factor != 1.0 || !["none", "linear"].contains(&scaling) {
        return Err(PretrainedError::Gguf("its rotary embedding is scaled".into()));
    }
    let tokens = || file.texts("tokenizer.ggml.tokens").map(Iterator::count);
    let config = BitNetTransformerConfig {
        num_tokens: size("vocab_size")
            .or_else(tokens)
            .ok_or_else(|| missing("tokenizer.ggml.tokens"))?,
        dim,
        depth: required("block_count")?,
        heads,
        kv_heads: size("attention.head_count_kv").unwrap_or(heads),
        dim_head,
        ff_dim: required("feed_forward_length")?,
        max_seq_len: required("context_length")?,
        rope_theta: decimal(file.float(&key("rope.freq_base")).unwrap_or(10_000.0)),
        norm_eps: file
            .float(&key("attention.layer_norm_rms_epsilon"))
            .map(decimal)
            .ok_or_else(|| missing(&key("attention.layer_norm_rms_epsilon")))?,
        feed_forward: match file.text(&key(ACTIVATION_KEY)) {
            Some(name) => feed_forward(name)?,
            None if architecture == BITNET_CPP_ARCHITECTURE => FeedForwardKind::Relu2Gated,
            None => FeedForwardKind::Swiglu,
        },
        tie_embeddings: file.store.tensor("output.weight").is_none(),
        ..BitNetTransformerConfig::new(0, 0, 0)
    };
    config.validate_as(gguf_name).map_err(|error| PretrainedError::Gguf(error.to_string()))?;
    Ok(config)
}

/// What a file calls a field of a configuration, after its architecture.
fn gguf_name(field: &'static str) -> &'static str {
    match field {
        "num_tokens" => "vocab_size",
        "dim" => "embedding_length",
        "depth" => "block_count",
        "heads" => "attention.head_count",
        "kv_heads" => "attention.head_count_kv",
        "dim_head" => "attention.key_length",
        "ff_dim" => "feed_forward_length",
        "max_seq_len" => "context_length",
        "rope_theta" => "rope.freq_base",
        "norm_eps" => "attention.layer_norm_rms_epsilon",
        same => same,
    }
}

/// Name of the feed-forward activation, which newer versions of llama.cpp read.
const ACTIVATION_KEY: &str = "hidden_activation";

/// A number that was written with 32 bits as the short decimal that it was before: 1e-5, not
/// 9.99999974e-6.
fn decimal(number: f64) -> f64 {
    (number as f32).to_string().parse().unwrap_or(number)
}

/// What llama.cpp and bitnet.cpp do not compute as a configuration does, beside what
/// `BitNetForCausalLM` does not.
pub(super) fn unlike_gguf(config: &BitNetTransformerConfig) -> Option<String> {
    unlike(&[
        (
            config.tie_embeddings,
            "an output head that is not the embedding",
            "model.tie_embeddings = true",
        ),
        (
            config.heads * config.dim_head == config.dim,
            "heads wider or narrower than the model",
            "model.heads times model.dim_head equal to model.dim",
        ),
    ])
}

/// The metadata of a configuration, for the program that reads linears of an encoding.
pub(super) fn config_fields(
    config: &BitNetTransformerConfig,
    linears: Encoding,
) -> Vec<(String, Field)> {
    let relu2 = config.feed_forward == FeedForwardKind::Relu2Gated;
    let architecture = match linears {
        Encoding::I2S if relu2 => BITNET_CPP_ARCHITECTURE,
        _ => LLAMA_CPP_ARCHITECTURE,
    };
    let file_type = match linears {
        Encoding::F32 => 0,
        Encoding::F16 => 1,
        Encoding::Q8_0 => 7,
        Encoding::Bf16 => 32,
        Encoding::Tq1_0 => 36,
        Encoding::Tq2_0 => 37,
        _ => 40,
    };
    let own = |name: &str, field| (format!("{architecture}.{name}"), field);
    let size = |size: usize| Field::U32(size as u32);
    let mut fields = vec![
        ("general.architecture".into(), Field::Text(architecture.into())),
        ("general.name".into(), Field::Text("BitNet".into())),
        (PRODUCER_KEY.into(), Field::Text(PRODUCER.into())),
        ("general.file_type".into(), Field::U32(file_type)),
        ("general.quantization_version".into(), Field::U32(2)),
        own("vocab_size", size(config.num_tokens)),
        own("context_length", size(config.max_seq_len)),
        own("embedding_length", size(config.dim)),
        own("block_count", size(config.depth)),
        own("feed_forward_length", size(config.ff_dim)),
        own("attention.head_count", size(config.heads)),
        own("attention.head_count_kv", size(config.kv_heads)),
        own("attention.layer_norm_rms_epsilon", Field::F32(config.norm_eps as f32)),
        own("rope.dimension_count", size(config.dim_head)),
        own("rope.freq_base", Field::F32(config.rope_theta as f32)),
    ];
    if architecture == LLAMA_CPP_ARCHITECTURE {
        let activation = activation_name(config.feed_forward).into();
        fields.push(own(ACTIVATION_KEY, Field::Text(activation)));
    }
    fields
}
