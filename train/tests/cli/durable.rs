//! Stopping and resuming: the same end for any step, damaged checkpoints, changed configurations,
//! locks, budgets, and what is kept.

use std::{fs, process::Stdio, thread::sleep, time::Duration};

use crate::common::{Playground, Remains, failed, read, succeeded};

/// Arguments of a run in `out` with some keys set.
fn run<'a>(out: &'a str, set: &[&'a str]) -> Vec<&'a str> {
    let set = set.iter().flat_map(|pair| ["--set", *pair]);
    ["--config", "tiny.toml", "--out", out].into_iter().chain(set).collect()
}

fn resume<'a>(set: &[&'a str]) -> Vec<&'a str> {
    let set = set.iter().flat_map(|pair| ["--set", *pair]);
    ["--resume", "run"].into_iter().chain(set).collect()
}

#[test]
fn a_run_stopped_after_any_step_ends_the_same() {
    let variants: [&[&str]; 7] = [
        &["train.log_every=5"],
        &["train.accumulation=3", "train.workers=2", "train.log_every=3", "eval.every=3"],
        &["train.schedule=two-stage", "eval.windows=3", "checkpoint.every=100"],
        &["train.quant_start=3", "train.quant_warmup=5"],
        &["train.ema=0.9", "eval.windows=3", "checkpoint.every=3"],
        &["train.optimizer=muon", "train.schedule=two-stage", "model.bias=true"],
        &["train.schedule=wsd", "backend.kind=ndarray", "model.quant=binary"],
    ];
    for variant in variants {
        let playground = Playground::new();
        succeeded(playground.train(&run("whole", variant)));
        let expected = Remains::of(&playground.path("whole"));
        for step in ["1", "3", "4", "6", "7", "11", "12"] {
            let args = [&run("run", variant)[..], &["--stop-at", step]].concat();
            let shown = succeeded(playground.train(&args));
            if step != "12" {
                assert!(shown.contains(&format!("stopped after step {step}; ")), "{shown}");
                let shown = succeeded(playground.train(&resume(&[])));
                assert!(shown.contains(&format!("continuing after step {step}\n")), "{shown}");
            }
            let what = format!("{variant:?} stopped after step {step}");
            Remains::of(&playground.path("run")).assert_equals(&expected, &what);
            fs::remove_dir_all(playground.path("run")).unwrap();
        }
    }
}

#[test]
fn a_run_goes_on_from_another_working_directory() {
    let playground = Playground::new();
    let args = |out| {
        let relative = ["--data", "t[e]xt.*", "--data", "./text.txt", "--set", "data.cache=tokens"];
        [&run(out, &[])[..], &relative].concat()
    };
    succeeded(playground.train(&args("whole")));
    succeeded(playground.train(&[&args("run")[..], &["--stop-at", "5"]].concat()));
    fs::create_dir(playground.path("elsewhere")).unwrap();
    let mut resumed = playground.command(&["--resume", "../run"]);
    let shown = succeeded(resumed.current_dir(playground.path("elsewhere")).output().unwrap());
    assert!(shown.contains("continuing after step 5\n") && !shown.contains("changed"), "{shown}");
    let expected = Remains::of(&playground.path("whole"));
    Remains::of(&playground.path("run")).assert_equals(&expected, "resumed elsewhere");
    assert_eq!(fs::read_dir(playground.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn the_work_after_the_last_step_is_made_up_for() {
    let playground = Playground::new();
    succeeded(playground.train(&run("run", &[])));
    let expected = Remains::of(&playground.path("run"));
    let shown = succeeded(playground.train(&resume(&[])));
    assert!(shown.contains("all 12 of 12 steps done; raise train.steps to go on"), "{shown}");

    // As if killed right after the last checkpoint.
    fs::remove_file(playground.path("run/result.json")).unwrap();
    fs::remove_dir_all(playground.path("run/model")).unwrap();
    let shown = succeeded(playground.train(&resume(&[])));
    assert!(shown.contains("done: 12 steps") && shown.contains("has the same loss"), "{shown}");
    Remains::of(&playground.path("run")).assert_equals(&expected, "made up for");
    let result = String::from_utf8(read(playground.path("run/result.json"))).unwrap();
    assert!(result.contains("\"exported_model_agrees\": true"), "{result}");
}

#[test]
fn an_exported_model_of_another_loss_is_called_out() {
    let playground = Playground::new();
    let output = playground.train(&run("run", &["checkpoint.dtype=bf16"]));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.starts_with("WARNING: read back, the model in run/model has"), "{errors}");
    let result = String::from_utf8(read(playground.path("run/result.json"))).unwrap();
    assert!(result.contains("\"exported_model_agrees\": false"), "{result}");
    succeeded(output);
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    /// What is left of a file.
    type Damage = fn(Vec<u8>) -> Option<Vec<u8>>;

    let playground = Playground::new();
    succeeded(playground.train(&run("whole", &[])));
    let expected = Remains::of(&playground.path("whole"));
    let damages: [(&str, Damage); 6] = [
        ("model.mpk", |bytes| Some(bytes[..bytes.len() / 2].to_vec())),
        ("optimizer.mpk", |_| Some(Vec::new())),
        ("optimizer.mpk", |_| None),
        ("model.mpk", |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Some(bytes)
        }),
        ("state.toml", |_| Some(b"step = 4".to_vec())),
        ("manifest.json", |_| None),
    ];
    for (name, damage) in damages {
        let args = [&run("run", &["checkpoint.every=2"])[..], &["--stop-at", "9"]].concat();
        succeeded(playground.train(&args));
        let newest = playground.path("run/checkpoints/step-00000009");
        match damage(read(newest.join(name))) {
            Some(bytes) => fs::write(newest.join(name), bytes).unwrap(),
            None => fs::remove_file(newest.join(name)).unwrap(),
        }
        let output = playground.train(&resume(&["checkpoint.every=4"]));
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = format!("warning: run/checkpoints/step-00000009 is damaged ({name}");
        let line = if name == "manifest.json" { line } else { line.replace(name, "") };
        assert!(errors.starts_with(&line) && errors.contains(name), "{errors}");
        assert!(succeeded(output).contains("continuing after step 8\n"));
        Remains::of(&playground.path("run")).assert_equals(&expected, name);
        fs::remove_dir_all(playground.path("run")).unwrap();
    }
}

#[test]
fn without_a_whole_checkpoint_nothing_is_overwritten() {
    let playground = Playground::new();
    let args =
        [&run("run", &["checkpoint.keep=1", "checkpoint.keep_best=0"])[..], &["--stop-at", "3"]];
    succeeded(playground.train(&args.concat()));
    let model = playground.path("run/checkpoints/step-00000003/model.mpk");
    fs::write(&model, "no model").unwrap();
    let metrics = read(playground.path("run/metrics.csv"));
    let output = playground.train(&resume(&[]));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("no checkpoint of run is whole"), "{errors}");
    assert_eq!(
        (read(&model), read(playground.path("run/metrics.csv"))),
        (b"no model".into(), metrics)
    );

    // Of another version of the program, which may be whole.
    let manifest = playground.path("run/checkpoints/step-00000003/manifest.json");
    let text = String::from_utf8(read(&manifest)).unwrap();
    fs::write(&manifest, text.replace("\"format\": 3", "\"format\": 4")).unwrap();
    let error = failed(playground.train(&resume(&[])));
    assert!(error.contains("step-00000003 has format 4, this program reads 3"), "{error}");

    // A run that was killed before its first checkpoint starts again.
    fs::remove_dir_all(playground.path("run/checkpoints")).unwrap();
    let shown = succeeded(playground.train(&resume(&[])));
    assert!(shown.contains("run has no checkpoint yet: starting at the first step"), "{shown}");
    succeeded(playground.train(&run("whole", &[])));
    let models =
        ["run", "whole"].map(|run| read(playground.path(run).join("model/model.safetensors")));
    assert_eq!(models[0], models[1]);
}

#[test]
fn changed_keys_are_named_and_only_safe_ones_pass() {
    let playground = Playground::new();
    succeeded(playground.train(&[&run("run", &[])[..], &["--stop-at", "6"]].concat()));
    let refused = |args: &[&str], expected: &str| {
        let error = failed(playground.train(args));
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    refused(&resume(&["model.dim=32"]), "cannot change model.dim (16 -> 32): the saved weights");
    let lr = ["train.lr=0.5", "data.validation=0.2"];
    refused(
        &resume(&lr),
        "cannot change data.validation (0.1 -> 0.2), train.lr (0.01 -> 0.5): it would be another",
    );
    let force = ["--resume", "run", "--set", "model.dim=32", "--force-changes"];
    refused(&force, "the saved weights would not fit");
    // The keys are the same, the text is not.
    let text = read(playground.path("text.txt"));
    fs::write(playground.path("text.txt"), [&text[..], b"!"].concat()).unwrap();
    refused(&resume(&[]), "was trained on other tokens");
    fs::rename(playground.path("text.txt"), playground.path("moved.txt")).unwrap();
    refused(&["--resume", "run", "--data", "moved.txt"], "was trained on other tokens");
    fs::write(playground.path("moved.txt"), &text).unwrap();
    fs::write(playground.path("text.txt"), text).unwrap();
    let moved = ["--resume", "run", "--data", "moved.txt", "--stop-at", "7"];
    assert!(succeeded(playground.train(&moved)).contains("stopped after step 7; "));

    let shown = succeeded(playground.train(&resume(&["train.steps=14", "eval.every=7"])));
    assert!(shown.contains("changed since the checkpoint: eval.every: 4 -> 7\n"), "{shown}");
    assert!(shown.contains("changed since the checkpoint: train.steps: 12 -> 14\n"), "{shown}");
    let force = resume(&["train.lr=0.02", "train.steps=20"]);
    succeeded(playground.train(&[&force[..], &["--force-changes"]].concat()));
    // A whole file, too.
    let config = ["--resume", "run", "--config", "run/config.toml", "--set", "train.steps=21"];
    assert!(succeeded(playground.train(&config)).contains("train.steps: 20 -> 21\n"));
}

#[test]
fn a_second_run_in_the_folder_is_refused() {
    let playground = Playground::new();
    let long = ["train.steps=1000000", "eval.every=1000000"];
    let mut first = playground.command(&run("run", &long)).stdout(Stdio::null()).spawn().unwrap();
    while !playground.path("run/checkpoints/step-00000004").exists() {
        assert!(first.try_wait().unwrap().is_none(), "the run ended by itself");
        sleep(Duration::from_millis(10));
    }
    let error = failed(playground.train(&resume(&[])));
    let expected = format!("run is in use by another process (process {})", first.id());
    assert!(error.contains(&expected), "{error}");
    assert!(first.try_wait().unwrap().is_none(), "the first run goes on");
    first.kill().unwrap();
    first.wait().unwrap();
    // The lock went with the process.
    succeeded(playground.train(&[&resume(&long)[..], &["--stop-at", "1"]].concat()));
}

#[test]
fn budgets_end_a_run() {
    let playground = Playground::new();
    // 4 windows of 16 tokens a step.
    succeeded(playground.train(&run("tokens", &["train.tokens=500"])));
    let config = String::from_utf8(read(playground.path("tokens/config.toml"))).unwrap();
    assert!(config.contains("steps = 8\n") && !config.contains("tokens = 500"), "{config}");
    assert_eq!(Remains::of(&playground.path("tokens")).last_step, 8);
    // A longer one is the same experiment.
    let longer = ["--resume", "tokens", "--set", "train.tokens=700"];
    let shown = succeeded(playground.train(&longer));
    assert!(shown.contains("changed since the checkpoint: train.steps: 8 -> 11\n"), "{shown}");
    assert_eq!(Remains::of(&playground.path("tokens")).last_step, 11);

    let time = ["train.steps=1000000", "train.minutes=0.005", "eval.every=1000000"];
    let shown = succeeded(playground.train(&run("minutes", &time)));
    assert!(shown.contains("ended early: 0.005 minutes are up; raise train.minutes"), "{shown}");

    // A rate at which nothing is learned.
    let patience = ["train.steps=1000", "train.lr=1.0", "eval.every=2", "eval.patience=2"];
    let shown = succeeded(playground.train(&run("run", &patience)));
    assert!(shown.contains("no lower validation loss in 2 validations; raise eval."), "{shown}");
    let remains = Remains::of(&playground.path("run"));
    assert!(remains.last_step < 1000);
    let result = String::from_utf8(read(playground.path("run/result.json"))).unwrap();
    assert!(result.contains("\"end\": \"patience\""), "{result}");
    let shown = succeeded(playground.train(&resume(&[])));
    assert!(shown.contains("the run is at its end: no lower validation loss"), "{shown}");
}

#[test]
fn the_newest_the_best_and_milestones_are_kept() {
    let playground = Playground::new();
    let set =
        ["checkpoint.every=1", "checkpoint.keep=2", "checkpoint.keep_every=5", "eval.every=3"];
    succeeded(playground.train(&run("run", &set)));
    let result = String::from_utf8(read(playground.path("run/result.json"))).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    let best = result["best"]["step"].as_u64().unwrap();
    let mut expected = vec![5, 10, 11, 12, best];
    expected.sort();
    expected.dedup();
    let entries = fs::read_dir(playground.path("run/checkpoints")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut steps: Vec<u64> = names.map(|name| name[5..].parse().unwrap()).collect();
    steps.sort();
    assert_eq!(steps, expected);
    assert!(playground.path("run/best/model.safetensors").exists());

    // By the clock alone: with an interval of nothing, after every step.
    let set = ["checkpoint.every=0", "checkpoint.minutes=1e-9", "checkpoint.keep=100"];
    succeeded(playground.train(&run("clock", &set)));
    assert_eq!(fs::read_dir(playground.path("clock/checkpoints")).unwrap().count(), 12);
}
