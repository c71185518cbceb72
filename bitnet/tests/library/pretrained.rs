//! Model folders: what is written, that it comes back, and that damaged ones are errors.

use std::{collections::BTreeMap, fs, path::Path};

use crate::common::{bits, for_each_backend, tokens, values};
use bitnet::{
    BitNetTransformer, BitNetTransformerConfig, ModelError,
    formats::FormatError,
    nn::{FeedForwardKind, NormPlacement},
    pretrained::{FloatModel, PretrainedError, WeightDtype, save},
    quant::WeightQuant,
    tokenizer::{ByteTokenizer, TokenizerError},
};
use burn::tensor::backend::Backend;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

for_each_backend!(
    f32_comes_back_bit_by_bit,
    bf16_comes_back_rounded,
    files_have_the_hugging_face_layout,
    missing_files_are_errors,
    damaged_weights_are_errors,
    damaged_configurations_are_errors,
    damaged_tokenizers_are_errors,
    a_failed_save_leaves_nothing,
);

/// Grouped queries, norms in the blocks, a tied head.
fn config() -> BitNetTransformerConfig {
    BitNetTransformerConfig {
        ff_dim: 10,
        max_seq_len: 32,
        rope_theta: 500_000.0,
        ..BitNetTransformerConfig::new(256, 8, 2).with_heads(4).with_kv_heads(2).with_dim_head(6)
    }
}

fn model<B: Backend>(config: &BitNetTransformerConfig) -> BitNetTransformer<B> {
    config.init_seeded(11, &Default::default()).unwrap()
}

fn load<B: Backend>(path: &Path) -> Result<FloatModel<B>, PretrainedError> {
    FloatModel::load(path, &Default::default())
}

fn logits<B: Backend>(model: &BitNetTransformer<B>) -> Vec<u32> {
    bits(&values(model.forward(tokens(&[[66, 105, 116, 78, 101, 116]])).unwrap()))
}

fn f32_comes_back_bit_by_bit<B: Backend>() {
    let in_linear = BitNetTransformerConfig {
        norms: NormPlacement::InLinear,
        feed_forward: FeedForwardKind::Gelu,
        group_size: Some(2),
        tie_embeddings: false,
        norm_eps: 1e-6,
        init_std: 0.1,
        ..config().with_quant(WeightQuant::BinaryPaper)
    };
    let full_precision = BitNetTransformerConfig {
        feed_forward: FeedForwardKind::Swiglu,
        qk_norm: true,
        bias: true,
        ..config().with_quant(WeightQuant::None)
    };
    for config in [config(), in_linear, full_precision] {
        let model = model::<B>(&config);
        let root = tempfile::tempdir().unwrap();
        // A name with a dot, which is not to be taken for an extension.
        let path = root.path().join("bitnet-1.58b");
        save(&path, &model, &ByteTokenizer, WeightDtype::F32).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing else remains");
        let loaded = load::<B>(&path).unwrap();
        assert_eq!(loaded.model.config(), &config);
        assert_eq!(loaded.tokenizer.vocab_size(), 256);
        assert_eq!(logits(&loaded.model), logits(&model), "{config:?}");

        // Over an older folder, too.
        save(&path, &loaded.model, &ByteTokenizer, WeightDtype::F32).unwrap();
        assert_eq!(logits(&load::<B>(&path).unwrap().model), logits(&model));
    }
}

fn bf16_comes_back_rounded<B: Backend>() {
    let model = model::<B>(&config());
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("model");
    save(&path, &model, &ByteTokenizer, WeightDtype::Bf16).unwrap();
    let loaded = load::<B>(&path).unwrap().model;
    for (layer, expected) in loaded.layers.iter().zip(&model.layers) {
        let loaded = values(layer.self_attn.k_proj.weight.val());
        let expected = values(expected.self_attn.k_proj.weight.val());
        for (loaded, expected) in loaded.into_iter().zip(expected) {
            assert_eq!(loaded.to_bits() & 0xffff, 0, "more digits than bf16 has");
            // Seven bits after the leading one, rounded to nearest.
            assert!((loaded - expected).abs() <= expected.abs() / 256.0, "{loaded} {expected}");
        }
    }
}

/// Shapes and types of the tensors of a file.
fn shapes(file: &[u8]) -> BTreeMap<String, (Dtype, Vec<usize>)> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let shape = |view: TensorView| (view.dtype(), view.shape().to_vec());
    tensors.iter().map(|(name, view)| (name.to_owned(), shape(view))).collect()
}

fn files_have_the_hugging_face_layout<B: Backend>() {
    let model = model::<B>(&config());
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("model");
    save(&path, &model, &ByteTokenizer, WeightDtype::F32).unwrap();
    let file = fs::read(path.join("model.safetensors")).unwrap();

    // Linear weights as [out, in].
    let mut expected = vec![("model.embed_tokens.weight".to_string(), vec![256, 8])];
    for n in 0..2 {
        let layer = [
            ("input_layernorm.weight", vec![8]),
            ("self_attn.q_proj.weight", vec![24, 8]),
            ("self_attn.k_proj.weight", vec![12, 8]),
            ("self_attn.v_proj.weight", vec![12, 8]),
            ("self_attn.attn_sub_norm.weight", vec![24]),
            ("self_attn.o_proj.weight", vec![8, 24]),
            ("post_attention_layernorm.weight", vec![8]),
            ("mlp.gate_proj.weight", vec![10, 8]),
            ("mlp.up_proj.weight", vec![10, 8]),
            ("mlp.ffn_sub_norm.weight", vec![10]),
            ("mlp.down_proj.weight", vec![8, 10]),
        ];
        expected.extend(layer.map(|(name, shape)| (format!("model.layers.{n}.{name}"), shape)));
    }
    expected.push(("model.norm.weight".into(), vec![8]));
    let expected = expected.into_iter().map(|(name, shape)| (name, (Dtype::F32, shape)));
    assert_eq!(shapes(&file), expected.collect());

    let tensors = SafeTensors::deserialize(&file).unwrap();
    let stored = tensors.tensor("model.layers.1.self_attn.q_proj.weight").unwrap();
    let stored = stored.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
    let weight = model.layers[1].self_attn.q_proj.weight.val().transpose();
    assert_eq!(stored.collect::<Vec<f32>>(), values(weight));

    let json: Value = serde_json::from_slice(&fs::read(path.join("config.json")).unwrap()).unwrap();
    for (field, value) in [
        ("model_type", json!("bitnet")),
        ("architectures", json!(["BitNetForCausalLM"])),
        ("vocab_size", json!(256)),
        ("hidden_size", json!(8)),
        ("intermediate_size", json!(10)),
        ("num_hidden_layers", json!(2)),
        ("num_attention_heads", json!(4)),
        ("num_key_value_heads", json!(2)),
        ("head_dim", json!(6)),
        ("hidden_act", json!("relu2")),
        ("max_position_embeddings", json!(32)),
        ("rms_norm_eps", json!(1e-5)),
        ("rope_theta", json!(500_000.0)),
        ("tie_word_embeddings", json!(true)),
        ("torch_dtype", json!("float32")),
    ] {
        assert_eq!(json[field], value, "{field}");
    }
}

/// A good model folder, to be damaged.
fn folder<B: Backend>() -> (TempDir, std::path::PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("model");
    save(&path, &model::<B>(&config()), &ByteTokenizer, WeightDtype::F32).unwrap();
    (root, path)
}

#[track_caller]
fn error<B: Backend>(path: &Path) -> PretrainedError {
    match load::<B>(path) {
        Ok(_) => panic!("a damaged folder was loaded"),
        Err(error) => error,
    }
}

fn missing_files_are_errors<B: Backend>() {
    for name in ["config.json", "model.safetensors"] {
        let (_root, path) = folder::<B>();
        fs::remove_file(path.join(name)).unwrap();
        let error = error::<B>(&path);
        let PretrainedError::Format(FormatError::Read { path, .. }) = error else {
            panic!("{error}")
        };
        assert!(path.ends_with(name));
    }
    let (_root, path) = folder::<B>();
    fs::remove_file(path.join("tokenizer.json")).unwrap();
    let error_ = error::<B>(&path);
    assert!(matches!(error_, PretrainedError::Tokenizer(TokenizerError::Io(_))));
    let error = error::<B>(&path.join("nowhere"));
    assert!(matches!(error, PretrainedError::Format(FormatError::Read { .. })));
}

/// A tensor as it is in a file.
#[derive(Clone)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Loads a model whose weights were changed by `change`.
#[track_caller]
fn with_weights<B: Backend>(change: impl FnOnce(&mut BTreeMap<String, Stored>)) -> PretrainedError {
    let (_root, path) = folder::<B>();
    let file = fs::read(path.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let stored = |view: TensorView| Stored {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    let mut all = tensors.iter().map(|(name, view)| (name.to_owned(), stored(view))).collect();
    change(&mut all);
    let views = all.iter().map(|(name, tensor)| {
        (name, TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(path.join("model.safetensors"), bytes).unwrap();
    error::<B>(&path)
}

fn damaged_weights_are_errors<B: Backend>() {
    const NAME: &str = "model.layers.1.mlp.up_proj.weight";
    let (_root, path) = folder::<B>();
    let file = fs::read(path.join("model.safetensors")).unwrap();
    for len in [0, 4, 8, 100, file.len() / 2, file.len() - 1] {
        fs::write(path.join("model.safetensors"), &file[..len]).unwrap();
        let error = error::<B>(&path);
        let is_said = matches!(error, PretrainedError::Format(FormatError::Damaged { .. }));
        assert!(is_said, "{len} bytes: {error}");
    }

    let error = with_weights::<B>(|all| drop(all.remove(NAME)));
    assert!(matches!(&error, PretrainedError::MissingTensor(name) if name == NAME), "{error}");

    let error = with_weights::<B>(|all| {
        all.insert("lm_head.weight".into(), all["model.embed_tokens.weight"].clone());
    });
    let extra = |name| name == "lm_head.weight";
    assert!(matches!(&error, PretrainedError::UnexpectedTensor(name) if extra(name)), "{error}");

    // Transposed: as many values, in another order.
    let error = with_weights::<B>(|all| all.get_mut(NAME).unwrap().shape.reverse());
    let PretrainedError::ShapeMismatch { name, actual, expected } = error else {
        panic!("{error}");
    };
    assert_eq!((name.as_str(), actual, expected), (NAME, vec![8, 10], vec![10, 8]));

    let error = with_weights::<B>(|all| all.get_mut(NAME).unwrap().dtype = Dtype::I32);
    let PretrainedError::Format(FormatError::Dtype { name, dtype, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!((name.as_str(), dtype.as_str()), (NAME, "I32"));

    for value in [f32::NAN, f32::INFINITY] {
        let error = with_weights::<B>(|all| {
            all.get_mut(NAME).unwrap().bytes[12..16].copy_from_slice(&value.to_le_bytes());
        });
        let PretrainedError::Format(FormatError::Tensor { name, reason }) = error else {
            panic!("{error}")
        };
        assert_eq!((name.as_str(), reason.as_str()), (NAME, "holds values that are not finite"));
    }
}

/// Loads a model whose configuration was changed by `change`.
#[track_caller]
fn with_config<B: Backend>(change: impl FnOnce(&mut Value)) -> PretrainedError {
    let (_root, path) = folder::<B>();
    let path_ = path.join("config.json");
    let mut json = serde_json::from_slice(&fs::read(&path_).unwrap()).unwrap();
    change(&mut json);
    fs::write(&path_, json.to_string()).unwrap();
    error::<B>(&path)
}

fn damaged_configurations_are_errors<B: Backend>() {
    let (_root, path) = folder::<B>();
    for text in ["", "{", "[]", "null", "\u{0}", "{\"model_type\": \"bitnet\"}"] {
        fs::write(path.join("config.json"), text).unwrap();
        assert!(matches!(error::<B>(&path), PretrainedError::Config(_)), "{text}");
    }
    let set = |field: &'static str, value: Value| with_config::<B>(|json| json[field] = value);

    let error = set("model_type", json!("llama"));
    assert!(matches!(&error, PretrainedError::Unsupported(why) if why.contains("llama")));
    let error = set("hidden_act", json!("tanh"));
    assert!(matches!(&error, PretrainedError::Unsupported(why) if why.contains("tanh")));
    let error = set("vocab_size", json!(257));
    let mismatch = PretrainedError::VocabularyMismatch { tokenizer: 256, model: 257 };
    assert_eq!(error.to_string(), mismatch.to_string());
    let error = with_config::<B>(|json| json["bitnet"]["quants"] = json!("ternary"));
    assert!(matches!(error, PretrainedError::Config(_)), "a misspelt field");

    for (field, value) in [
        ("hidden_size", json!(-8)),
        ("hidden_size", json!(8.5)),
        ("num_hidden_layers", json!("2")),
        ("rope_theta", json!(null)),
    ] {
        assert!(matches!(set(field, value), PretrainedError::Config(_)), "{field}");
    }
    // Sizes that would overflow, divide by zero, or ask for all memory before a weight is read.
    for (field, value) in [
        ("vocab_size", json!(u64::MAX)),
        ("hidden_size", json!(u64::MAX)),
        ("hidden_size", json!(0)),
        ("intermediate_size", json!(1u64 << 40)),
        ("num_hidden_layers", json!(0)),
        ("num_hidden_layers", json!(1 << 24)),
        ("num_attention_heads", json!(0)),
        ("num_key_value_heads", json!(0)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(1 << 24)),
        ("head_dim", json!(5)),
        ("max_position_embeddings", json!(u64::MAX)),
        ("max_position_embeddings", json!(1 << 30)),
        ("rms_norm_eps", json!(0.0)),
        ("rope_theta", json!(-1.0)),
    ] {
        let error = set(field, value.clone());
        let named = matches!(error, PretrainedError::Model(ModelError::InvalidConfig(_)));
        assert!(named, "{field} = {value}: {error}");
    }
    let error = with_config::<B>(|json| {
        json["head_dim"] = json!(null);
        json["num_attention_heads"] = json!(0);
    });
    assert!(matches!(error, PretrainedError::Model(_)), "{error}");
    // Large but possible: the weights do not fit.
    for (field, value) in [("hidden_size", 1 << 24), ("intermediate_size", 1 << 24)] {
        let error = set(field, json!(value));
        assert!(matches!(error, PretrainedError::ShapeMismatch { .. }), "{field}: {error}");
    }
    let error = set("num_hidden_layers", json!(1000));
    assert!(matches!(error, PretrainedError::MissingTensor(_)), "{error}");
}

fn damaged_tokenizers_are_errors<B: Backend>() {
    let (_root, path) = folder::<B>();
    fs::write(path.join("tokenizer.json"), "{").unwrap();
    let error_ = error::<B>(&path);
    assert!(matches!(error_, PretrainedError::Tokenizer(TokenizerError::Json(_))));
    fs::write(path.join("tokenizer.json"), "{}").unwrap();
    let error_ = error::<B>(&path);
    assert!(matches!(error_, PretrainedError::Tokenizer(TokenizerError::Unsupported(_))));
    fs::write(path.join("tokenizer.json"), [0xff, 0xfe]).unwrap();
    let error = error::<B>(&path);
    assert!(matches!(error, PretrainedError::Tokenizer(TokenizerError::Io(_))));
}

fn a_failed_save_leaves_nothing<B: Backend>() {
    let model = model::<B>(&config());
    let root = tempfile::tempdir().unwrap();
    let entries = || fs::read_dir(root.path()).unwrap().count();
    let fails = |path: &Path| {
        let error = save(path, &model, &ByteTokenizer, WeightDtype::F32).unwrap_err();
        assert!(matches!(&error, PretrainedError::Write { path: named, .. } if named == path));
    };
    fails(&root.path().join("missing/model"));
    assert_eq!(entries(), 0);

    fs::write(root.path().join("file"), "not a folder").unwrap();
    fails(&root.path().join("file/model"));
    assert_eq!(entries(), 1);
    assert_eq!(fs::read_to_string(root.path().join("file")).unwrap(), "not a folder");

    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let locked = root.path().join("locked");
        fs::create_dir(&locked).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
        // Root may write everywhere.
        if fs::write(locked.join("probe"), "").is_err() {
            fails(&locked.join("model"));
            assert_eq!(fs::read_dir(&locked).unwrap().count(), 0);
        }
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
