use std::path::Path;

use serde_json::Value;

use super::{PretrainedError, reader::CheckpointReader};
use crate::{nn::BitNetTransformerConfig, tokenizer::Tokenizer};

/// The kinds of checkpoints whose tensors mean what they do here: decoders with RMS norms, gated
/// feed-forward networks and half-split rotary embeddings.
const MODEL_TYPES: [&str; 3] = ["bitnet", "llama", "qwen3"];

/// A checkpoint as the beginning of a model of `config`, to be [loaded](CheckpointReader::load): a
/// BitNet of any form that [`CheckpointReader`] opens, or a folder of a full-precision LLaMA or
/// Qwen3, whose linears become latent weights as they are. With `insert_sub_norms`, norms before
/// the output and down projections that the checkpoint lacks begin with gains of one, as in
/// BitDistill (arXiv 2510.13998).
///
/// Its context, and how `config` quantises, may be others; what the weights mean may not. Every
/// number is checked to be finite.
///
/// # Errors
/// [`PretrainedError`] if the checkpoint is damaged, or of another shape or tokenizer.
pub fn initial(
    path: &Path,
    config: &BitNetTransformerConfig,
    tokenizer: &dyn Tokenizer,
    insert_sub_norms: bool,
) -> Result<CheckpointReader, PretrainedError> {
    config.validate()?;
    let mut stored = CheckpointReader::open_any(path, &MODEL_TYPES)?;
    if let Some(difference) = difference(&stored.config, config) {
        return Err(PretrainedError::OtherModel(difference));
    }
    if !is_same(stored.tokenizer(), tokenizer) {
        return Err(PretrainedError::OtherModel("its tokenizer is another one".into()));
    }
    stored.config = config.clone();
    stored.insert_sub_norms = insert_sub_norms;
    stored.check()?;
    stored.check_floats()?;
    stored.layers().try_for_each(|layer| layer.map(|_| ()))?;
    Ok(stored)
}

/// What weights of one configuration would not mean in the other; shapes are compared with the
/// tensors themselves.
fn difference(
    checkpoint: &BitNetTransformerConfig,
    config: &BitNetTransformerConfig,
) -> Option<String> {
    let [theirs, ours] = [checkpoint, config].map(|config| {
        [
            ("heads", config.heads.to_string()),
            ("kv_heads", config.kv_heads.to_string()),
            ("dim_head", config.dim_head.to_string()),
            ("rope_theta", config.rope_theta.to_string()),
            ("norm_eps", config.norm_eps.to_string()),
            ("feed_forward", format!("{:?}", config.feed_forward)),
            ("tie_embeddings", config.tie_embeddings.to_string()),
        ]
    });
    theirs.into_iter().zip(ours).find_map(|((name, theirs), (_, ours))| {
        (theirs != ours).then(|| format!("its {name} is {theirs}, that of the model {ours}"))
    })
}

/// Whether two tokenizers are the same file, but for its spacing.
fn is_same(a: &dyn Tokenizer, b: &dyn Tokenizer) -> bool {
    let [a, b] = [a, b].map(|tokenizer| serde_json::from_str::<Value>(&tokenizer.to_json()).ok());
    a == b
}
