//! Whole runs, and what they leave behind.

use std::fs;

use crate::common::{MODEL, Playground, failed, read, succeeded};
use bitnet::{generate::GenerationConfig, pretrained::FloatModel};
use serde_json::Value;

#[test]
fn a_run_leaves_config_metrics_samples_checkpoints_and_a_model() {
    let playground = Playground::new();
    let shown = succeeded(playground.train(&["--config", "tiny.toml", "--out", "run"]));

    let line = shown.lines().find(|line| line.starts_with("step 6/12 ")).unwrap();
    for part in ["| train ", "| val ", "| bits/byte ", "| lr ", " tok/s", "| eta "] {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
    assert!(!line.contains("val -"), "the validation of step 4 is not in {line:?}");
    assert!(shown.contains("whole validation part"));

    let metrics = String::from_utf8(read(playground.path("run/metrics.csv"))).unwrap();
    // The header, 6 log lines, 3 validations.
    assert_eq!(metrics.lines().count(), 10, "{metrics}");
    let entries = |folder| fs::read_dir(playground.path(folder)).unwrap().count();
    assert_eq!((entries("run/samples"), entries("run/checkpoints")), (3, 3));
    assert!(read(playground.path("run/samples/step-00000004.txt")).starts_with(b"The"));

    let device = Default::default();
    let model =
        FloatModel::<burn_flex::Flex>::load(&playground.path("run/model"), &device).unwrap();
    let config = GenerationConfig { max_tokens: 5, ..GenerationConfig::default() };
    assert!(model.generate("The", &config).is_ok());
}

#[test]
fn micro_batches_do_not_change_the_step() {
    let model_of = |set: &[&str]| {
        let playground = Playground::new();
        let args = [&["--config", "tiny.toml", "--out", "run"], set].concat();
        succeeded(playground.train(&args));
        read(playground.path("run").join(MODEL))
    };
    let accumulated = ["--set", "train.accumulation=2"];
    let one_worker = model_of(&accumulated);
    let two_workers = model_of(&[&accumulated[..], &["--set", "train.workers=2"]].concat());
    assert_eq!(one_worker, two_workers);
    assert_ne!(one_worker, model_of(&[]), "accumulation sees more text");
}

/// Burn's operations round otherwise than the fused ones: the workers' steps and the validations
/// show by which of them they were computed.
#[test]
fn all_of_a_run_computes_as_backend_fused_says() {
    let run = |set: &[&str]| {
        let playground = Playground::new();
        let set = set.iter().flat_map(|set| ["--set", set]);
        let args: Vec<_> =
            ["--config", "tiny.toml", "--out", "run"].into_iter().chain(set).collect();
        succeeded(playground.train(&args));
        let result: Value =
            serde_json::from_slice(&read(playground.path("run/result.json"))).unwrap();
        (read(playground.path("run").join(MODEL)), result["validation_loss"].clone())
    };
    let (composed, accumulated) = ("backend.fused=false", "train.accumulation=2");
    let one_worker = run(&[composed, accumulated]);
    assert_eq!(one_worker, run(&[composed, accumulated, "train.workers=2"]));
    assert_ne!(one_worker.0, run(&[accumulated]).0, "the steps");

    // A rate too small to change a weight: what differs is what the validation computes. In bf16 it
    // differs most.
    let still = ["train.lr=1e-38", "train.weight_decay=0", "backend.precision=bf16"];
    let [fused, composed] = [run(&still), run(&[&still[..], &[composed]].concat())];
    assert_eq!(fused.0, composed.0);
    assert_ne!(fused.1, composed.1, "the validation");
}

#[test]
fn a_full_precision_twin_trains_from_the_same_file() {
    let playground = Playground::new();
    let args = ["--config", "tiny.toml", "--out", "twin", "--set", "model.quant=none"];
    succeeded(playground.train(&args));
    let config = String::from_utf8(read(playground.path("twin/model/config.json"))).unwrap();
    assert!(config.contains("\"quant\": \"none\"") && !config.contains("quantization_config"));
}

#[test]
fn quantisation_may_start_late() {
    let playground = Playground::new();
    let model_of = |out: &str, set: &[&str]| {
        let set = set.iter().flat_map(|pair| ["--set", *pair]);
        let args: Vec<_> = ["--config", "tiny.toml", "--out", out].into_iter().chain(set).collect();
        let shown = succeeded(playground.train(&args));
        assert!(shown.contains("read back, it has the same loss"), "{shown}");
        read(playground.path(out).join(MODEL))
    };
    let twin = model_of("twin", &["model.quant=none"]);
    let ternary = model_of("ternary", &[]);
    // One that never starts trains the twin's weights.
    assert_eq!(model_of("never", &["train.quant_start=12"]), twin);
    let late = model_of("late", &["train.quant_start=11"]);
    let rising = model_of("rising", &["train.quant_warmup=2"]);
    assert!(late != twin && late != ternary && rising != ternary);
    assert_eq!(model_of("at-once", &["train.quant_warmup=1"]), ternary);
}

#[test]
fn the_printed_config_is_the_run() {
    let playground = Playground::new();
    let set = ["--set", "train.lr=0.004", "--data", "text.txt"];
    let print = [&["--config", "tiny.toml", "--print-config"], &set[..]].concat();
    let printed = succeeded(playground.train(&print));
    assert!(printed.contains("lr = 0.004") && printed.contains("dim_head = 8"), "{printed}");
    fs::write(playground.path("printed.toml"), &printed).unwrap();
    succeeded(playground.train(&["--config", "printed.toml"]));
    // But for the paths, which a run keeps absolute.
    let text = playground.path("text.txt").display().to_string();
    let kept = printed.replace("\"text.txt\"", &format!("\"{text}\""));
    assert_eq!(String::from_utf8(read(playground.path("runs/printed/config.toml"))).unwrap(), kept);
    assert!(succeeded(playground.train(&["--print-config"])).contains("[checkpoint]"));
}

#[test]
fn a_diverging_run_stops_and_keeps_its_checkpoint() {
    let playground = Playground::new();
    succeeded(playground.train(&["--config", "tiny.toml", "--out", "run"]));
    let model = read(playground.path("run").join(MODEL));
    let checkpoint = read(playground.path("run/checkpoints/step-00000012/model.mpk"));
    // A decay of more than everything makes the weights explode.
    let explode = [
        "--set",
        "train.steps=60",
        "--set",
        "train.schedule=constant",
        "--set",
        "train.lr=1000",
        "--set",
        "train.weight_decay=1000",
        "--set",
        "eval.every=100",
    ];
    let error =
        failed(playground.train(&[&["--resume", "run", "--force-changes"], &explode[..]].concat()));
    assert!(
        error.contains("no longer finite") && error.contains("checkpoint of step 12"),
        "{error}"
    );
    assert_eq!(read(playground.path("run").join(MODEL)), model);
    assert_eq!(read(playground.path("run/checkpoints/step-00000012/model.mpk")), checkpoint);
}

#[test]
fn a_run_begins_with_the_weights_of_another() {
    let playground = Playground::new();
    let loss_of = |out: &str, more: &[&str]| -> f64 {
        let steps = ["--config", "tiny.toml", "--out", out, "--set", "train.log_every=1"];
        succeeded(playground.train(&[&steps[..], more].concat()));
        let rows = crate::common::metrics(&playground.path(out));
        let column = rows[0].iter().position(|name| name == "train_loss").unwrap();
        rows[1][column].parse().unwrap()
    };
    let new = loss_of("first", &["--set", "train.steps=60"]);
    let begun = loss_of("second", &["--init-from", "first/model"]);
    let again = ["--resume", "second", "--init-from", "first/model"];
    let error = failed(playground.train(&again));
    assert!(error.contains("--init-from is for the beginning of a run"), "{error}");
    assert!(begun < new - 1.0, "begins at {begun}, a new one at {new}");

    // What cannot be begun with leaves no folder.
    let start = ["--config", "tiny.toml", "--out", "run", "--init-from"];
    for (path, more, words) in [
        ("nowhere", None, "train.init_from nowhere: cannot read nowhere: No such file"),
        ("text.txt", None, "train.init_from text.txt: it is neither a model folder nor"),
        ("first/model", Some("model.heads=1"), "its heads is 2, that of the model 1"),
        ("first/model", Some("model.depth=2"), "which config.json asks for"),
    ] {
        let set = more.into_iter().flat_map(|pair| ["--set", pair]);
        let args: Vec<&str> = start.into_iter().chain([path]).chain(set).collect();
        let error = failed(playground.train(&args));
        assert!(error.contains(words), "{error:?} does not say {words:?}");
        assert!(!playground.path("run").exists(), "a failed start left a folder");
    }
}
