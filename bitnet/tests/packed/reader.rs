//! Models that other programs have written, or that are damaged: codes, scales, shards.

use std::{fs, path::Path};

use crate::{
    checkpoints::{config, folder, logits, model, packed_folder, weights},
    common::{bits, for_each_backend},
};
use bitnet::{
    BitNetTransformerConfig,
    engine::Engine,
    formats::FormatError,
    nn::{FeedForwardKind, NormPlacement},
    packed::TableFormat,
    pretrained::{CheckpointReader, PretrainedError, initial},
    progress::Silent,
    quant::WeightQuant,
    tokenizer::ByteTokenizer,
};
use burn::tensor::backend::Backend;
use safetensors::{SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

for_each_backend!(
    packing_from_files_is_packing_the_model,
    both_meanings_of_a_scale_are_read,
    unpacked_codes_are_read,
    shards_are_one_model,
    llamas_become_latent_weights,
);

#[track_caller]
fn assert_near(actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        assert!((actual - expected).abs() <= tolerance, "{actual} {expected}");
    }
}

/// The tensors of a file, changed by `change`.
fn change_tensors(
    path: &Path,
    change: impl Fn(&str, TensorView<'_>) -> (safetensors::Dtype, Vec<usize>, Vec<u8>),
) {
    let file = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let all: Vec<_> =
        tensors.iter().map(|(name, view)| (name.to_owned(), change(name, view))).collect();
    let views = all.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(path, bytes).unwrap();
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn packing_from_files_is_packing_the_model<B: Backend>() {
    let small = BitNetTransformerConfig {
        max_seq_len: 24,
        ff_dim: 72,
        init_std: 0.3,
        ..BitNetTransformerConfig::new(256, 36, 2).with_heads(6).with_kv_heads(2).with_dim_head(6)
    };
    let vary = |change: fn(&mut BitNetTransformerConfig)| {
        let mut config = small.clone();
        change(&mut config);
        config
    };
    for config in [
        small.clone(),
        vary(|c| c.quant = WeightQuant::Binary),
        vary(|c| c.norms = NormPlacement::InLinear),
        vary(|c| c.feed_forward = FeedForwardKind::Gelu),
        vary(|c| (c.qk_norm, c.bias) = (true, true)),
        vary(|c| c.tie_embeddings = false),
        vary(|c| c.group_size = Some(9)),
        vary(|c| (c.group_size, c.quant) = (Some(9), WeightQuant::Binary)),
    ] {
        let (root, _) = folder::<B>(&config);
        let engine = Engine::new(&model::<B>(&config), TableFormat::F32).unwrap();
        let mut cache = engine.new_cache();
        let tokens = b"BitNet".map(u32::from);
        let expected = engine.forward(&mut [(&mut cache, tokens.as_slice())]).unwrap();
        // Means are made in 64 bits there, so that scales may differ in their last bit.
        assert_near(&logits(&root.path().join("model")), &expected, 2e-4);
    }
}

fn both_meanings_of_a_scale_are_read<B: Backend>() {
    let (root, expected) = packed_folder::<B>();
    let path = root.path().join("packed");
    change_tensors(&path.join("model.safetensors"), |name, view| {
        let bytes = match name.ends_with("_scale") {
            true => f32s(view.data())[0].recip().to_le_bytes().to_vec(),
            false => view.data().to_vec(),
        };
        (view.dtype(), view.shape().to_vec(), bytes)
    });
    let file = path.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(config["quantization_config"]["linear_class"], "autobitlinear");
    assert_eq!(config["quantization_config"]["quantization_mode"], "offline");
    config["quantization_config"]["linear_class"] = json!("bitlinear");
    fs::write(&file, config.to_string()).unwrap();
    // 1/(1/x) may differ from x in its last bit.
    assert_near(&logits(&path), &expected, 1e-4);
    config["quantization_config"]["linear_class"] = json!("linear");
    fs::write(&file, config.to_string()).unwrap();
    let error = CheckpointReader::open(&path).err().unwrap();
    assert!(matches!(&error, PretrainedError::Unsupported(why) if why.contains("linear_class")));
}

/// As `transformers` saves a packed model that it has unpacked: codes as floats.
fn unpacked_codes_are_read<B: Backend>() {
    let (root, expected) = packed_folder::<B>();
    let path = root.path().join("packed");
    change_tensors(&path.join("model.safetensors"), |_, view| match view.dtype() {
        safetensors::Dtype::U8 => {
            let (rows, columns) = (view.shape()[0], view.shape()[1]);
            let code = |row: usize, column: usize| {
                let byte = view.data()[row % rows * columns + column];
                f32::from(byte >> (2 * (row / rows)) & 3) - 1.0
            };
            let all = (0..4 * rows).flat_map(|row| (0..columns).map(move |c| (row, c)));
            let bytes = all.flat_map(|(row, column)| code(row, column).to_le_bytes()).collect();
            (safetensors::Dtype::F32, vec![4 * rows, columns], bytes)
        }
        other => (other, view.shape().to_vec(), view.data().to_vec()),
    });
    assert_eq!(bits(&logits(&path)), bits(&expected));
}

fn shards_are_one_model<B: Backend>() {
    let (root, _) = folder::<B>(&config());
    let path = root.path().join("model");
    let expected = logits(&path);
    let file = fs::read(path.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let mut map = serde_json::Map::new();
    for shard in 0..2 {
        let name = format!("model-{shard}.safetensors");
        let part = tensors.iter().enumerate().filter(|(index, _)| index % 2 == shard);
        let part: Vec<_> = part.map(|(_, tensor)| tensor).collect();
        part.iter().for_each(|(tensor, _)| drop(map.insert((*tensor).into(), json!(name))));
        fs::write(path.join(name), safetensors::serialize(part, None).unwrap()).unwrap();
    }
    fs::remove_file(path.join("model.safetensors")).unwrap();
    let index = path.join("model.safetensors.index.json");
    let write = |map: &serde_json::Map<String, Value>| {
        fs::write(&index, json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    };
    write(&map);
    assert_eq!(bits(&logits(&path)), bits(&expected));

    let damaged = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut map = map.clone();
        change(&mut map);
        write(&map);
        CheckpointReader::open(&path).err().unwrap().to_string()
    };
    let norm = "model.norm.weight";
    let is_first = map[norm] == "model-0.safetensors";
    let wrong = json!(format!("model-{}.safetensors", u8::from(is_first)));
    assert!(damaged(&|map| drop(map.remove(norm))).contains("has no tensor"));
    assert!(damaged(&|map| drop(map.insert(norm.into(), wrong.clone()))).contains("has no tensor"));
    let elsewhere = damaged(&|map| drop(map.insert(norm.into(), json!("../model-0.safetensors"))));
    assert!(elsewhere.contains("is not the name of a file"), "{elsewhere}");
    let missing = damaged(&|map| drop(map.insert("x".into(), map[norm].clone())));
    assert!(missing.contains("\"x\" is not in"), "{missing}");
}

/// A full-precision LLaMA: no norms before the output and down projections.
fn llamas_become_latent_weights<B: Backend>() {
    let config = BitNetTransformerConfig { feed_forward: FeedForwardKind::Swiglu, ..config() };
    let (root, _) = folder::<B>(&config);
    let path = root.path().join("model");
    let file = path.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let kept = tensors.iter().filter(|(name, _)| !name.contains("sub_norm"));
    let llama = safetensors::serialize(kept, None).unwrap();
    fs::write(&file, llama).unwrap();
    let json = path.join("config.json");
    let mut value: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    value["model_type"] = json!("llama");
    value
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !["bitnet", "quantization_config"].contains(&&key[..]));
    fs::write(&json, value.to_string()).unwrap();

    let device = Default::default();
    let begin = |config: &BitNetTransformerConfig, insert| -> Result<_, PretrainedError> {
        let checkpoint = initial(&path, config, &ByteTokenizer, insert)?;
        Ok(checkpoint.load::<B>(&device)?.model)
    };
    let model = begin(&config, true).unwrap();
    assert_eq!(weights(&model), weights(&crate::checkpoints::model::<B>(&config)));
    let error = begin(&config, false).err().unwrap();
    assert!(matches!(&error, PretrainedError::MissingTensor(name) if name.contains("sub_norm")));
    let other = BitNetTransformerConfig { rope_theta: 5e5, ..config.clone() };
    let error = begin(&other, true).err().unwrap();
    assert!(matches!(&error, PretrainedError::OtherModel(why) if why.contains("rope_theta")));
}

#[test]
fn damaged_codes_are_errors() {
    type B = burn_flex::Flex;
    let (root, _) = packed_folder::<B>();
    let path = root.path().join("packed");
    let name = "model.layers.1.mlp.up_proj.weight";
    change_tensors(&path.join("model.safetensors"), |tensor, view| {
        let mut bytes = view.data().to_vec();
        if tensor == name {
            bytes[77] |= 0b11;
        }
        (view.dtype(), view.shape().to_vec(), bytes)
    });
    let error =
        CheckpointReader::open(&path).unwrap().pack(TableFormat::Int8, &Silent).err().unwrap();
    let PretrainedError::Format(FormatError::Tensor { name: found, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(found, name);
    let loaded = CheckpointReader::open(&path).unwrap().load::<B>(&Default::default());
    assert!(loaded.is_err());
}
