//! `infer info`: counts by hand.

use std::fs;

use crate::common::{B, Folder, build, config};
use bitnet::{
    BitNetTransformer, BitNetTransformerConfig,
    nn::{FeedForwardKind, NormPlacement},
    pretrained::WeightDtype,
    quant::WeightQuant,
};
use burn::{
    module::Param,
    tensor::{Tensor, TensorData},
};
use serde_json::{Value, json};

fn folder(config: &BitNetTransformerConfig) -> Folder {
    Folder::with_model(&build(config), WeightDtype::F32)
}

fn json(config: &BitNetTransformerConfig) -> Value {
    folder(config).run("info", &["--json"]).json()
}

// Four attention projections of 32 x 32, three feed-forward ones of 32 x 128.
const QUANTISED: usize = 4 * 32 * 32 + 3 * 32 * 128;
// The embedding, and the norms: two of the block, before o_proj, before down_proj, the last one.
const FULL: usize = 256 * 32 + 32 + 32 + 32 + 128 + 32;

#[test]
fn counts_of_the_default_model() {
    let folder = Folder::new();
    let info = folder.run("info", &["--json"]).json();
    let expected = json!({
        "total": QUANTISED + FULL,
        "quantised": QUANTISED,
        "full_precision": FULL,
    });
    assert_eq!(info["parameters"], expected);
    let on_disk = fs::metadata(folder.path("model/model.safetensors")).unwrap().len();
    assert_eq!(info["bytes"]["on_disk"], on_disk);
    assert_eq!(info["bytes"]["packed"], QUANTISED / 4 + 7 * 4 + FULL * 4);
    assert_eq!(info["config"]["num_tokens"], 256);
    assert_eq!(info["config"]["feed_forward"], "relu2-gated");
    assert_eq!(info["config"]["group_size"], Value::Null);
    assert_eq!(info["config"].as_object().unwrap().len(), 19);
}

#[test]
fn the_text_says_the_same() {
    let text = Folder::new().run("info", &[]).stdout();
    for line in [
        "num_tokens                 256",
        "activation      int8-per-token",
        "parameters        24,832",
        "  ternary         16,384",
        "  full precision   8,448",
        "packed    37,916 bytes  12.22 bits/parameter",
        "packed: 2 bits per ternary weight, f32 scales, an f32 for any other parameter",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("layer ")).collect();
    assert_eq!(table.len(), 8, "{text}");
    assert!(table[1].starts_with("layers.0.self_attn.q_proj   32 x 32  "), "{text}");
    assert!(table[7].starts_with("layers.0.mlp.down_proj     128 x 32  "), "{text}");
    assert!(table.iter().all(|line| line.chars().count() == table[0].len()), "{text}");
}

#[test]
fn counts_of_every_extra() {
    let config = BitNetTransformerConfig {
        kv_heads: 1,
        group_size: Some(16),
        tie_embeddings: false,
        qk_norm: true,
        bias: true,
        depth: 2,
        ..config()
    };
    let info = json(&config);
    let quantised = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 128);
    let biases = 32 + 16 + 16 + 32 + 128 + 128 + 32;
    let full = 2 * 256 * 32 + 32 + 2 * (32 + 32 + 32 + 128 + 16 + 16 + biases);
    // A scale for each output and each 16 inputs.
    let scales = 2 * quantised / 32;
    assert_eq!(info["parameters"]["quantised"], quantised);
    assert_eq!(info["parameters"]["full_precision"], full);
    assert_eq!(info["bytes"]["packed"], quantised / 4 + 4 * scales + 4 * full);
    assert_eq!(info["layers"][1]["scales"], 2 * 16);
    assert_eq!(info["layers"][6]["scales"], 8 * 32);
}

#[test]
fn layers_are_in_the_order_of_the_model() {
    let config = BitNetTransformerConfig {
        depth: 2,
        feed_forward: FeedForwardKind::Gelu,
        norms: NormPlacement::InLinear,
        ..config()
    }
    .with_quant(WeightQuant::BinaryPaper);
    let info = json(&config);
    let names: Vec<&str> =
        info["layers"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap()).collect();
    let block = |index| {
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
            .into_iter()
            .chain(["mlp.up_proj", "mlp.down_proj"])
            .map(move |name| format!("layers.{index}.{name}"))
    };
    assert_eq!(names, block(0).chain(block(1)).collect::<Vec<_>>());
    assert!(info["layers"].as_array().unwrap().iter().all(|layer| layer["zero_fraction"] == 0.0));
    assert!(folder(&config).run("info", &[]).stdout().contains("2 bits per binary weight"));
}

/// A q_proj of which one weight in four is ±1 and the others are 0.
fn quarter_ones(mut model: BitNetTransformer<B>) -> BitNetTransformer<B> {
    let values: Vec<f32> = (0..32 * 32).map(|i| [1.0, 0.0, 0.0, 0.0][i % 4]).collect();
    let weight = Tensor::from_data(TensorData::new(values, [32, 32]), &Default::default());
    model.layers[0].self_attn.q_proj.weight = Param::from_tensor(weight);
    model
}

#[test]
fn zeros_and_scales_of_known_weights() {
    let one_scale = quarter_ones(build(&config()));
    let grouped = quarter_ones(build(&BitNetTransformerConfig { group_size: Some(8), ..config() }));
    // Column i holds ones where i % 4 = 0 and zeros elsewhere, whose scale is kept at 1e-5.
    let grouped_scale = 0.25 + 0.75 * 1e-5;
    for (model, scales, scale) in [(one_scale, 1, 0.25), (grouped, 4 * 32, grouped_scale)] {
        let folder = Folder::with_model(&model, WeightDtype::F32);
        let layer = folder.run("info", &["--json"]).json()["layers"][0].clone();
        assert_eq!(layer["zero_fraction"], 0.75);
        assert_eq!(layer["scales"], scales);
        assert!((layer["scale"].as_f64().unwrap() - scale).abs() < 1e-7, "{layer}");
        assert_eq!((&layer["inputs"], &layer["outputs"]), (&json!(32), &json!(32)));
    }
}

#[test]
fn bf16_halves_the_size_on_disk_alone() {
    let model = build(&config());
    let bytes =
        |dtype| Folder::with_model(&model, dtype).run("info", &["--json"]).json()["bytes"].clone();
    let (f32, bf16) = (bytes(WeightDtype::F32), bytes(WeightDtype::Bf16));
    let saved = f32["on_disk"].as_u64().unwrap() - bf16["on_disk"].as_u64().unwrap();
    // The headers may differ by a few bytes, as offsets have fewer digits.
    assert!(saved.abs_diff(2 * (QUANTISED + FULL) as u64) < 100, "{saved}");
    assert_eq!(f32["packed"], bf16["packed"]);
}

#[test]
fn full_precision_is_said_to_be() {
    let folder = folder(&config().with_quant(WeightQuant::None));
    let info = folder.run("info", &["--json"]).json();
    assert_eq!(info["parameters"]["quantised"], 0);
    assert_eq!(info["parameters"]["full_precision"], QUANTISED + FULL);
    assert_eq!(info["bytes"]["packed"], 4 * (QUANTISED + FULL));
    assert_eq!(info["layers"], json!([]));
    assert!(folder.run("info", &[]).stdout().ends_with("\nlayers: full precision\n"));
}
