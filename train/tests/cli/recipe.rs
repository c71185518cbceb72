//! Muon, distillation, the moving average, and the end of a run whose loss rises.

use std::fs;

use crate::common::{Playground, Remains, failed, metrics, read, succeeded};
use bitnet::pretrained::FloatModel;

/// Arguments of a run in `out` with some keys set.
fn run<'a>(out: &'a str, set: &[&'a str]) -> Vec<&'a str> {
    let set = set.iter().flat_map(|pair| ["--set", *pair]);
    ["--config", "tiny.toml", "--out", out].into_iter().chain(set).collect()
}

fn model(playground: &Playground, out: &str) -> Vec<u8> {
    read(playground.path(out).join("model/model.safetensors"))
}

#[test]
fn muon_is_another_optimiser() {
    let playground = Playground::new();
    let final_loss = |out: &str, set: &[&str]| {
        succeeded(playground.train(&run(out, &[set, &["train.steps=40"]].concat())));
        let json = read(playground.path(out).join("result.json"));
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        json["validation_loss"].as_f64().unwrap()
    };
    let muon = final_loss("muon", &["train.optimizer=muon"]);
    // Uniform guesses cost 5.55 nats.
    assert!(muon < 3.2, "{muon}");
    assert_ne!(muon, final_loss("adamw", &[]));
    assert_ne!(muon, final_loss("other", &["train.optimizer=muon", "train.muon_momentum=0.5"]));
    let error = failed(playground.train(&run("bad", &["train.optimizer=adam"])));
    assert!(error.contains("train.optimizer: unknown variant `adam`"), "{error}");
    let error = failed(playground.train(&run("bad", &["train.muon_momentum=1"])));
    assert!(error.contains("train.muon_momentum is 1, must be"), "{error}");
}

#[test]
fn a_teacher_has_its_say_as_far_as_its_weight() {
    let playground = Playground::new();
    succeeded(playground.train(&run("teacher", &["model.quant=none", "train.steps=30"])));
    succeeded(playground.train(&run("alone", &[])));
    let teacher = "distill.teacher=teacher/model";
    let taught = |out: &str, weight: &str| {
        succeeded(playground.train(&run(out, &[teacher, weight])));
        model(&playground, out)
    };
    assert!(taught("none", "distill.weight=0") == model(&playground, "alone"));
    let half = taught("half", "distill.weight=0.5");
    assert!(half != model(&playground, "alone") && half != taught("all", "distill.weight=1"));
    // The losses shown are those of the text: the first step's, before anything was learned.
    let first = |run: &str| metrics(&playground.path(run))[1].clone();
    succeeded(playground.train(&run("one", &["train.log_every=1", "train.steps=1"])));
    let one = ["train.log_every=1", "train.steps=1", teacher];
    succeeded(playground.train(&run("one-taught", &one)));
    let column = metrics(&playground.path("one"))[0].iter().position(|name| name == "train_loss");
    assert_eq!(first("one")[column.unwrap()], first("one-taught")[column.unwrap()]);
}

#[test]
fn a_resumed_run_has_the_same_teacher() {
    let playground = Playground::new();
    succeeded(playground.train(&run("teacher", &["model.quant=none"])));
    let taught = ["distill.teacher=teacher/model", "distill.temperature=3"];
    succeeded(playground.train(&run("whole", &taught)));
    succeeded(playground.train(&[&run("run", &taught)[..], &["--stop-at", "5"]].concat()));

    fs::rename(playground.path("teacher"), playground.path("moved")).unwrap();
    let error = failed(playground.train(&["--resume", "run"]));
    assert!(error.contains("teacher/model cannot be used: cannot read"), "{error}");
    succeeded(playground.train(&run("other", &["model.quant=none", "seed=9"])));
    let resume = |teacher| ["--resume", "run", "--set", teacher];
    let error = failed(playground.train(&resume("distill.teacher=other/model")));
    assert!(error.contains("run was trained with another teacher than distill."), "{error}");
    let moved = resume("distill.teacher=moved/model");
    let other = [&moved[..], &["--set", "distill.temperature=2"]].concat();
    let error = failed(playground.train(&other));
    assert!(error.contains("cannot change distill.temperature"), "{error}");
    succeeded(playground.train(&moved));
    let weights = ["run", "whole"].map(|out| model(&playground, out));
    assert!(weights[0] == weights[1]);
}

#[test]
fn unusable_teachers_are_named_before_anything_starts() {
    let playground = Playground::new();
    let short = ["model.context=8", "sample.tokens=4", "model.quant=none"];
    succeeded(playground.train(&run("short", &short)));
    succeeded(playground.train(&run("teacher", &["model.quant=none"])));
    let path = playground.path("teacher/model/model.safetensors");
    let weights = read(&path);
    fs::write(&path, &weights[..weights.len() / 2]).unwrap();
    for (set, words) in [
        (&["distill.teacher=short/model"][..], "its context is 8, model.context is 16"),
        (&["distill.teacher=nowhere"], "the teacher nowhere cannot be used: cannot read nowhere"),
        (&["distill.teacher=teacher/model"], "model.safetensors is damaged"),
        (&["distill.weight=2"], "distill.weight is 2, must be between 0 and 1"),
        (&["distill.temperature=0"], "distill.temperature is 0, must be between 0.001 and 1000"),
    ] {
        let error = failed(playground.train(&run("run", set)));
        assert!(error.contains(words), "{error:?} does not say {words:?}");
        assert!(!playground.path("run").exists());
    }
    // Another vocabulary, which the tokenizer of the folder must have, too.
    fs::write(&path, &weights).unwrap();
    let config = playground.path("teacher/model/config.json");
    let text = String::from_utf8(read(&config)).unwrap();
    fs::write(&config, text.replace("\"vocab_size\": 256", "\"vocab_size\": 300")).unwrap();
    let error = failed(playground.train(&run("run", &["distill.teacher=teacher/model"])));
    assert!(error.contains("the tokenizer has 256 tokens, the model's vocabulary 300"), "{error}");
}

#[test]
fn a_teacher_of_another_tokenizer_is_refused() {
    let playground = Playground::new();
    fs::write(playground.path("other.txt"), "Sphinx of black quartz, judge my vow! ".repeat(60))
        .unwrap();
    // As many tokens, other ones.
    for (text, out) in [("text.txt", "its.json"), ("other.txt", "another.json")] {
        let args = ["tokenizer", "--vocab", "270", "--data", text, "--out", out];
        succeeded(playground.train(&args));
    }
    succeeded(playground.train(&run("teacher", &["data.tokenizer=another.json"])));
    let set = ["data.tokenizer=its.json", "distill.teacher=teacher/model"];
    let error = failed(playground.train(&run("run", &set)));
    assert!(error.contains("cannot be used: its tokenizer is not that of the text"), "{error}");
    assert!(!playground.path("run").exists());
}

#[test]
fn the_average_is_validated_and_saved_beside_the_model() {
    let playground = Playground::new();
    succeeded(playground.train(&run("plain", &[])));
    let output = playground.train(&run("run", &["train.ema=0.5"]));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.starts_with("warning: train.ema: the average of weights"), "{errors}");
    let shown = succeeded(output);
    assert!(shown.contains("step 4 | of the average "), "{shown}");
    // It changes nothing in the model itself.
    assert!(model(&playground, "run") == model(&playground, "plain"));
    let average = read(playground.path("run/ema/model.safetensors"));
    assert!(average != model(&playground, "run"));
    let device = Default::default();
    FloatModel::<burn_flex::Flex>::load(&playground.path("run/ema"), &device).unwrap();

    let rows = metrics(&playground.path("run"));
    let column = rows[0].iter().position(|name| name == "ema_validation_loss").unwrap();
    let losses: Vec<f64> = rows[1..].iter().filter_map(|row| row[column].parse().ok()).collect();
    assert_eq!(losses.len(), 3, "{rows:?}");
    let result: serde_json::Value =
        serde_json::from_slice(&read(playground.path("run/result.json"))).unwrap();
    assert_eq!(result["ema_loss"].as_f64(), losses.last().copied());
    let plain = metrics(&playground.path("plain"));
    assert!(plain[1..].iter().all(|row| row[column].is_empty()));

    // A decay of nothing keeps nothing: the average is the model. (Zero is off.)
    succeeded(playground.train(&run("none", &["train.ema=1e-300"])));
    assert!(read(playground.path("none/ema/model.safetensors")) == model(&playground, "none"));
    assert!(!playground.path("plain/ema").exists());
}

#[test]
fn a_rising_loss_ends_a_run_and_a_resumed_one_the_same() {
    let playground = Playground::new();
    // It learns in the first stage, and unlearns in the second.
    let rising = [
        "train.schedule=two-stage",
        "train.lr=1e-2",
        "train.second_lr=100.0",
        "train.steps=100",
        "train.warmup=0",
        "train.max_rise=0.5",
        "train.log_every=1",
    ];
    let shown = succeeded(playground.train(&run("whole", &rising)));
    assert!(shown.contains("ended early: the loss rose by more than 0.5; raise"), "{shown}");
    let whole = Remains::of(&playground.path("whole"));
    assert!(whole.last_step < 100);
    let result = String::from_utf8(read(playground.path("whole/result.json"))).unwrap();
    assert!(result.contains("\"end\": \"rise\""), "{result}");

    succeeded(playground.train(&[&run("run", &rising)[..], &["--stop-at", "30"]].concat()));
    succeeded(playground.train(&["--resume", "run"]));
    Remains::of(&playground.path("run")).assert_equals(&whole, "resumed");
}
