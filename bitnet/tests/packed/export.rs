//! Models written for other programs, and read again: codes to the bit, scales, tokenizers.

use std::fs;

use crate::{
    checkpoints::{config, folder, logits, model, weights},
    common::{bits, for_each_backend},
};
use bitnet::{
    BitNetTransformerConfig,
    formats::Encoding,
    nn::{FeedForwardKind, NormPlacement},
    pretrained::{CheckpointReader, ExportFormat, PretrainedError, WeightDtype, export, save},
    progress::Silent,
    quant::WeightQuant,
    tokenizer::train_bpe,
};
use burn::tensor::backend::Backend;

for_each_backend!(
    every_format_keeps_codes_and_scales,
    a_chain_of_formats_keeps_codes_and_scales,
    bf16_masters_are_rounded,
    what_other_programs_do_not_compute_is_refused,
);

fn formats() -> Vec<ExportFormat> {
    let gguf = |linears| ExportFormat::Gguf { linears, embedding: None };
    [
        Encoding::Tq1_0,
        Encoding::Tq2_0,
        Encoding::I2S,
        Encoding::F16,
        Encoding::Bf16,
        Encoding::F32,
        Encoding::Q8_0,
    ]
    .map(gguf)
    .into_iter()
    .chain([ExportFormat::HfPacked])
    .collect()
}

fn every_format_keeps_codes_and_scales<B: Backend>() {
    let swiglu = BitNetTransformerConfig { feed_forward: FeedForwardKind::Swiglu, ..config() };
    for config in [config(), swiglu, config().with_quant(WeightQuant::Binary)] {
        let (root, stored) = folder::<B>(&config);
        let expected = logits(&root.path().join("model"));
        let original = weights(&model::<B>(&config));
        for format in formats() {
            let path = root.path().join("out");
            let exported = export(&stored, format, &path, &Silent).unwrap();
            assert_eq!((exported.changed, exported.scale_change), (0, 0.0), "{format:?}");
            assert_eq!(exported.weights, original.values().map(|w| w.codes.len()).sum::<usize>());
            let again = CheckpointReader::open(&path).unwrap();
            let ternary = BitNetTransformerConfig { quant: WeightQuant::Ternary, ..config.clone() };
            let expected_config =
                BitNetTransformerConfig { init_std: again.config().init_std, ..ternary };
            assert_eq!(again.config(), &expected_config, "{format:?}");
            // The same integers and the same scales: not a bit is lost.
            assert_eq!(bits(&logits(&path)), bits(&expected), "{format:?}");

            let latent = again.load::<B>(&Default::default()).unwrap().model;
            for (name, weights) in weights(&latent) {
                let original = &original[&name];
                assert_eq!(weights.codes, original.codes, "{format:?} {name}");
                let change = (weights.scales[0] - original.scales[0]) / original.scales[0];
                assert!(change.abs() < 1e-5, "{format:?} {name} {change}");
            }
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        }
    }
}

fn a_chain_of_formats_keeps_codes_and_scales<B: Backend>() {
    let (root, mut stored) = folder::<B>(&config());
    let expected = logits(&root.path().join("model"));
    for (step, format) in formats().into_iter().enumerate() {
        let path = root.path().join(step.to_string());
        export(&stored, format, &path, &Silent).unwrap();
        assert_eq!(bits(&logits(&path)), bits(&expected), "{format:?}");
        stored = CheckpointReader::open(&path).unwrap();
    }
}

fn bf16_masters_are_rounded<B: Backend>() {
    let (root, stored) = folder::<B>(&config());
    let path = root.path().join("bf16");
    let exported = export(&stored, ExportFormat::HfBf16, &path, &Silent).unwrap();
    // Few weights are that near to a boundary; none would mean that nothing was rounded.
    let share = exported.changed as f64 / exported.weights as f64;
    assert!(share > 0.0 && share < 0.01, "{share}");
    assert!(exported.scale_change > 0.0 && exported.scale_change < 1e-3, "{exported:?}");

    // Codes survive as a bf16 master; scales are rounded.
    let packed = root.path().join("packed");
    export(&stored, ExportFormat::HfPacked, &packed, &Silent).unwrap();
    let packed = CheckpointReader::open(&packed).unwrap();
    let exported = export(&packed, ExportFormat::HfBf16, &path, &Silent).unwrap();
    assert_eq!(exported.changed, 0);
    assert!(exported.scale_change < 1.0 / 256.0, "{exported:?}");
}

fn what_other_programs_do_not_compute_is_refused<B: Backend>() {
    let refused = |config: BitNetTransformerConfig, format| {
        let (root, stored) = folder::<B>(&config);
        let path = root.path().join("out");
        let error = export(&stored, format, &path, &Silent).unwrap_err();
        assert!(!path.exists());
        let PretrainedError::NotExportable(what) = error else { panic!("{error}") };
        what
    };
    let with = |change: fn(&mut BitNetTransformerConfig)| {
        let mut config = config();
        change(&mut config);
        config
    };
    let gguf = |linears| ExportFormat::Gguf { linears, embedding: None };
    for format in [ExportFormat::HfBf16, ExportFormat::HfPacked, gguf(Encoding::Tq2_0)] {
        let refused = |change| refused(with(change), format);
        assert!(refused(|c| c.norms = NormPlacement::InLinear).contains("sub-norm"));
        assert!(refused(|c| c.feed_forward = FeedForwardKind::Gelu).contains("gate"));
        assert!(refused(|c| c.quant = WeightQuant::None).contains("ternary"));
        assert!(refused(|c| c.qk_norm = true).contains("norms of queries"));
        assert!(refused(|c| c.bias = true).contains("biases"));
        assert!(refused(|c| c.group_size = Some(64)).contains("groups"));
        let paper = |c: &mut BitNetTransformerConfig| {
            (c.norms, c.quant) = (NormPlacement::InLinear, WeightQuant::BinaryPaper);
        };
        assert!(!refused(paper).is_empty());
    }
    let untied = with(|c| c.tie_embeddings = false);
    assert!(refused(untied, gguf(Encoding::Tq2_0)).contains("head"));
    assert!(refused(with(|c| c.dim_head = 32), gguf(Encoding::I2S)).contains("heads"));
    assert!(refused(with(|c| c.ff_dim = 384), gguf(Encoding::Tq2_0)).contains("rows of 384"));
    assert!(refused(with(|c| c.ff_dim = 320), gguf(Encoding::I2S)).contains("rows of 320"));
    assert!(refused(with(|c| c.ff_dim = 511), ExportFormat::HfPacked).contains("outputs"));
}

/// A tokenizer of words goes through GGUF and comes back.
#[test]
fn trained_tokenizers_come_back() {
    type B = burn_flex::Flex;
    let texts = (0..200).map(|n| format!("In the beginning, {n} — señor, they're  here.\n\n"));
    let tokenizer = train_bpe(300, texts).unwrap();
    let config = BitNetTransformerConfig { num_tokens: 300, ..config() };
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("model");
    save(&path, &model::<B>(&config), &tokenizer, WeightDtype::F32).unwrap();
    let stored = CheckpointReader::open(&path).unwrap();
    let out = root.path().join("model.gguf");
    let format = ExportFormat::Gguf { linears: Encoding::I2S, embedding: Some(Encoding::Q8_0) };
    export(&stored, format, &out, &Silent).unwrap();
    let again = CheckpointReader::open(&out).unwrap();
    let (before, after) = (stored.tokenizer(), again.tokenizer());
    for text in ["In the beginning they're  12345\n\n\tseñor — 語\u{0}", "<|endoftext|>", " "] {
        let tokens = before.encode(text.as_bytes()).unwrap();
        assert_eq!(after.encode(text.as_bytes()).unwrap(), tokens, "{text}");
        assert_eq!(after.decode(&tokens), text.as_bytes());
    }
    assert_eq!(after.end_of_text(), before.end_of_text());
    assert_eq!(after.vocab_size(), before.vocab_size());
}
