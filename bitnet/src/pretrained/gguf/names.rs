use crate::{formats::Store, pretrained::PretrainedError};

/// Names of a block's tensors in Hugging Face checkpoints and in GGUF, less what follows the last
/// point.
const OF_BLOCKS: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.attn_sub_norm", "attn_sub_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.ffn_sub_norm", "ffn_sub_norm"),
    ("mlp.down_proj", "ffn_down"),
];
/// The same of the tensors outside the blocks.
const OTHERS: [(&str, &str); 3] =
    [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];
/// The same of what follows.
const ENDS: [(&str, &str); 2] = [("weight", "weight"), ("weight_scale", "scale")];

/// The name in GGUF of a tensor that Hugging Face checkpoints have; `None` if it has none.
pub(in crate::pretrained) fn tensor_name(name: &str) -> Option<String> {
    let (path, end) = name.rsplit_once('.')?;
    let (_, end) = ENDS.into_iter().find(|(hf, _)| *hf == end)?;
    if let Some((_, path)) = OTHERS.into_iter().find(|(hf, _)| *hf == path) {
        return Some(format!("{path}.{end}"));
    }
    let (block, path) = path.strip_prefix("model.layers.")?.split_once('.')?;
    let (_, path) = OF_BLOCKS.into_iter().find(|(hf, _)| *hf == path)?;
    Some(format!("blk.{block}.{path}.{end}"))
}

/// The other way round.
fn hf_name(name: &str) -> Option<String> {
    let (path, end) = name.rsplit_once('.')?;
    let (end, _) = ENDS.into_iter().find(|(_, gguf)| *gguf == end)?;
    if let Some((path, _)) = OTHERS.into_iter().find(|(_, gguf)| *gguf == path) {
        return Some(format!("{path}.{end}"));
    }
    let (block, path) = path.strip_prefix("blk.")?.split_once('.')?;
    let (path, _) = OF_BLOCKS.into_iter().find(|(_, gguf)| *gguf == path)?;
    Some(format!("model.layers.{block}.{path}.{end}"))
}

/// The tensors under the names of Hugging Face checkpoints.
pub(in crate::pretrained) fn renamed(mut store: Store) -> Result<Store, PretrainedError> {
    let names: Vec<String> = store.names().map(String::from).collect();
    for name in names {
        if !hf_name(&name).is_some_and(|new| store.rename(&name, new)) {
            return Err(PretrainedError::UnexpectedTensor(name));
        }
    }
    Ok(store)
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
            ("model.norm.weight", "output_norm.weight"),
        ] {
            assert_eq!(tensor_name(hf).as_deref(), Some(gguf));
            assert_eq!(hf_name(gguf).as_deref(), Some(hf));
        }
        assert_eq!(tensor_name("model.layers.0.self_attn.q_norm.weight"), None);
        assert_eq!(hf_name("blk.0.attn_q.bias"), None);
        assert_eq!(hf_name("blk"), None);
    }
}
