//! Files that other programs have written: `tests/interop/make_fixtures.py`.

use std::{fs, path::PathBuf};

use crate::common::{for_each_backend, values};
use bitnet::{
    formats::{Encoding, Store, gguf::Gguf},
    packed::TableFormat,
    pretrained::CheckpointReader,
    progress::Silent,
    tokenizer::{ByteTokenizer, Tokenizer},
};
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

for_each_backend!(logits_are_those_of_transformers);

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/interop").join(name)
}

/// Latent weights, codes four a byte, and a head of its own.
fn logits_are_those_of_transformers<B: Backend>() {
    let tokens: Vec<u32> =
        serde_json::from_str(&fs::read_to_string(golden("tokens.json")).unwrap()).unwrap();
    for name in ["online", "packed", "untied"] {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path();
        for file in ["config.json", "model.safetensors"] {
            fs::copy(golden(name).join(file), model.join(file)).unwrap();
        }
        fs::write(model.join("tokenizer.json"), ByteTokenizer.to_json()).unwrap();
        let store = Store::safetensors(&golden(name).join("logits.safetensors")).unwrap();
        let expected = store.tensor("logits").unwrap().floats().unwrap();

        let packed =
            CheckpointReader::open(model).unwrap().pack(TableFormat::F32, &Silent).unwrap();
        let mut cache = packed.model.new_cache();
        let logits = packed.model.forward(&mut [(&mut cache, &tokens)]).unwrap();
        assert_near(&logits, &expected, name);

        let device = Default::default();
        let float = CheckpointReader::open(model).unwrap().load::<B>(&device).unwrap().model;
        let ids: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
        let ids = TensorData::new(ids, [1, tokens.len()]);
        let logits = float.forward(Tensor::<B, 2, Int>::from_data(ids, &device)).unwrap();
        assert_near(&values(logits), &expected, name);
    }
}

#[track_caller]
fn assert_near(actual: &[f32], expected: &[f32], name: &str) {
    assert_eq!(actual.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |max, logit| max.max(logit.abs()));
    assert!(largest > 1.0, "{name}: logits that say something");
    for (actual, expected) in actual.iter().zip(expected) {
        assert!((actual - expected).abs() < 1e-4 * largest, "{name}: {actual} {expected}");
    }
}

#[test]
fn types_are_those_of_the_gguf_package() {
    let file = Gguf::open(&golden("ternary.gguf")).unwrap();
    assert_eq!(file.text("general.architecture"), Some("bitnet"));
    assert_eq!(file.text("test.text"), Some("señor"));
    assert_eq!(file.texts("test.texts").unwrap().collect::<Vec<_>>(), ["a", "", "語"]);
    assert_eq!(file.integers("test.integers").unwrap().collect::<Vec<_>>(), [1, -2, 3]);
    assert_eq!((file.float("test.float"), file.bool("test.bool")), (Some(0.5), Some(true)));
    assert!(file.texts("test.integers").is_none() && file.integers("test.texts").is_none());

    let codes = file.store.tensor("codes").unwrap();
    assert_eq!((codes.encoding(), codes.shape()), (Encoding::F32, &[2, 512][..]));
    let codes = codes.floats().unwrap();
    for (name, encoding) in [
        ("F16", Encoding::F16),
        ("BF16", Encoding::Bf16),
        ("Q8_0", Encoding::Q8_0),
        ("TQ1_0", Encoding::Tq1_0),
        ("TQ2_0", Encoding::Tq2_0),
    ] {
        let tensor = file.store.tensor(name).unwrap();
        assert_eq!((tensor.encoding(), tensor.shape()), (encoding, &[2, 512][..]));
        if encoding.is_ternary() {
            assert_eq!(tensor.inner_scale().unwrap(), Some(0.0625), "{name}");
            for (row, expected) in codes.chunks(512).enumerate() {
                let mut found = [9; 512];
                tensor.codes(row, &mut found);
                assert_eq!(found.map(f32::from)[..], *expected, "{name} {row}");
            }
            continue;
        }
        // 8-bit integers are 127 steps of an f16.
        let tolerance = if encoding == Encoding::Q8_0 { 1e-4 } else { 0.0 };
        for (value, code) in tensor.floats().unwrap().into_iter().zip(&codes) {
            assert!((value - 0.0625 * code).abs() <= tolerance, "{name} {value}");
        }
    }
}
