//! `infer export`, and every command on what it writes.

use std::fs;

use crate::common::{Folder, build, config, run};
use bitnet::{
    BitNetTransformerConfig,
    nn::{FeedForwardKind, NormPlacement},
    pretrained::WeightDtype,
};

/// A model that all formats can hold.
fn folder() -> Folder {
    let config = BitNetTransformerConfig {
        ff_dim: 256,
        ..BitNetTransformerConfig::new(256, 256, 1).with_heads(4).with_max_seq_len(32)
    };
    Folder::with_model(&build(&config), WeightDtype::F32)
}

#[test]
fn exported_models_say_the_same() {
    let folder = folder();
    let sampling = ["--prompt", "In the", "--tokens", "20", "--temperature", "0", "--head", "f32"];
    let text = folder.run("generate", &sampling).stdout();
    let data = folder.write("text.txt", "In the beginning there was a text to be measured. ");
    let loss = |model: &str| {
        let args = ["eval", "--model", model, "--data", &data, "--packed", "--head", "f32"];
        run(&args, b"").stdout()
    };
    let expected = loss(&folder.arg("model"));
    for (name, format) in [
        ("packed", vec!["hf-packed"]),
        ("a.gguf", vec!["gguf"]),
        ("b.gguf", vec!["gguf", "--type", "tq1_0"]),
        ("c.gguf", vec!["gguf", "--type", "i2_s"]),
        ("d", vec!["gguf", "--type", "f16", "--embedding", "f32"]),
    ] {
        let out = folder.arg(name);
        let args = [&["--out", &out, "--format"], &format[..]].concat();
        let report = folder.run("export", &args).stdout();
        assert!(report.lines().any(|line| line.ends_with(" 0")), "{report}");
        let generate = [&["generate", "--model", &out], &sampling[..]].concat();
        assert_eq!(run(&generate, b"").stdout(), text, "{name}");
        assert_eq!(loss(&out), expected, "{name}");

        let info = run(&["info", "--model", &out, "--json"], b"").json();
        let original = folder.run("info", &["--json"]).json();
        assert_eq!(info["parameters"], original["parameters"]);
        for (found, expected) in
            info["layers"].as_array().unwrap().iter().zip(original["layers"].as_array().unwrap())
        {
            for key in ["name", "inputs", "outputs", "zero_fraction", "scale"] {
                assert_eq!(found[key], expected[key], "{name} {key}");
            }
            assert_ne!(found["stored"], expected["stored"]);
        }
    }
}

#[test]
fn what_cannot_be_exported_is_one_line() {
    let folder = folder();
    let out = folder.arg("out");
    let fails = |args: &[&str], parts: &[&str]| {
        folder.run("export", &[&["--out", &out], args].concat()).assert_fails(parts);
        assert!(!folder.path("out").exists());
    };
    fails(&["--format", "hf-packed", "--type", "i2_s"], &["--type and --embedding are for"]);
    // What is offered is what is accepted.
    let offered = "[possible values: q8_0, f16, bf16, f32]";
    for ternary in ["tq2_0", "tq1_0", "i2_s"] {
        fails(&["--format", "gguf", "--embedding", ternary], &[offered]);
    }
    fails(&["--format", "hf-packed", "--head", "bf16"], &["--head is for --format packed"]);
    fails(&["--format", "packed", "--kv", "int8"], &["--kv"]);
    fails(&["--format", "onnx"], &["onnx", "hf-bf16"]);
    for format in ["packed", "gguf"] {
        run(&["export", "--model", "nowhere", "--format", format, "--out", &out], b"")
            .assert_fails(&["model nowhere: cannot read"]);
    }
    let model = folder.arg("model");
    folder
        .run("export", &["--format", "hf-packed", "--out", &model])
        .assert_fails(&["it is, or holds, the input"]);

    for (change, what) in [
        (
            BitNetTransformerConfig { norms: NormPlacement::InLinear, ..config() },
            "this format cannot hold norms other than \"sub-norm\"; it takes models trained with \
             model.norms = \"sub-norm\"",
        ),
        (
            BitNetTransformerConfig { feed_forward: FeedForwardKind::Gelu, ..config() },
            "this format cannot hold feed-forward networks without a gate; it takes models trained \
             with model.feed_forward = \"relu2-gated\" or \"swiglu\"",
        ),
    ] {
        let folder = Folder::with_model(&build(&change), WeightDtype::F32);
        let out = folder.arg("out");
        for format in ["hf-bf16", "hf-packed", "gguf"] {
            folder.run("export", &["--format", format, "--out", &out]).assert_fails(&[what]);
        }
    }
}

#[test]
fn damaged_gguf_files_are_one_line() {
    let folder = folder();
    let out = folder.arg("model.gguf");
    folder.run("export", &["--format", "gguf", "--out", &out]).stdout();
    let whole = fs::read(&out).unwrap();
    for length in [0, 3, 4, 100, whole.len() / 2, whole.len() - 40] {
        fs::write(&out, &whole[..length]).unwrap();
        run(&["info", "--model", &out], b"").assert_fails(&["model.gguf is damaged"]);
    }
    let at = whole.windows(4).position(|bytes| bytes == b"gpt2").unwrap();
    let mut other = whole.clone();
    other[at..at + 4].copy_from_slice(b"bert");
    fs::write(&out, other).unwrap();
    run(&["info", "--model", &out], b"").assert_fails(&["its tokenizer is \"bert\""]);
}
