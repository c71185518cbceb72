//! Model folders that tests read and export.

use std::{collections::BTreeMap, path::Path};

use bitnet::{
    BitNetTransformer, BitNetTransformerConfig,
    packed::{TableFormat, TernaryWeights},
    pretrained::{CheckpointReader, ExportFormat, WeightDtype, export, save},
    progress::Silent,
    tokenizer::ByteTokenizer,
};
use burn::tensor::backend::Backend;

/// Sizes that all formats can hold, with grouped queries and a tied head.
pub(crate) fn config() -> BitNetTransformerConfig {
    BitNetTransformerConfig {
        max_seq_len: 24,
        ff_dim: 512,
        ..BitNetTransformerConfig::new(256, 256, 2).with_heads(4).with_kv_heads(2)
    }
}

pub(crate) fn model<B: Backend>(config: &BitNetTransformerConfig) -> BitNetTransformer<B> {
    config.init_seeded(5, &Default::default()).unwrap()
}

/// A folder with a model in it, under "model".
pub(crate) fn folder<B: Backend>(
    config: &BitNetTransformerConfig,
) -> (tempfile::TempDir, CheckpointReader) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("model");
    save(&path, &model::<B>(config), &ByteTokenizer, WeightDtype::F32).unwrap();
    let stored = CheckpointReader::open(&path).unwrap();
    (root, stored)
}

pub(crate) fn weights<B: Backend>(
    model: &BitNetTransformer<B>,
) -> BTreeMap<String, TernaryWeights> {
    model.linears().map(|(name, linear)| (name, linear.ternary_weights().unwrap())).collect()
}

/// The logits of a model that is packed from its files.
pub(crate) fn logits(path: &Path) -> Vec<f32> {
    let packed = CheckpointReader::open(path).unwrap().pack(TableFormat::F32, &Silent).unwrap();
    let mut cache = packed.model.new_cache();
    packed.model.forward(&mut [(&mut cache, b"BitNet".map(u32::from).as_slice())]).unwrap()
}

pub(crate) fn packed_folder<B: Backend>() -> (tempfile::TempDir, Vec<f32>) {
    let (root, stored) = folder::<B>(&config());
    let path = root.path().join("packed");
    export(&stored, ExportFormat::HfPacked, &path, &Silent).unwrap();
    let logits = logits(&path);
    (root, logits)
}
