//! Bad input: one clear line, exit code 1, and nothing that was there is touched.

use std::fs;

use crate::common::{Playground, failed, read, succeeded};

#[track_caller]
fn says(playground: &Playground, args: &[&str], expected: &str) {
    let error = failed(playground.train(args));
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    assert!(!playground.path("run").exists(), "a failed start left a folder");
}

#[test]
fn configurations() {
    let playground = Playground::new();
    let config =
        |args: &[&'static str]| [&["--config", "tiny.toml", "--out", "run"], args].concat();
    let set = |pair| config(&["--set", pair]);
    says(&playground, &["--config", "missing.toml", "--out", "run"], "cannot read missing.toml");
    says(&playground, &["--config", ".", "--out", "run"], "cannot read .");
    says(&playground, &[], "--config");
    says(
        &playground,
        &config(&["--seed", "3"]),
        "tip: that key is set by --set seed=3; see --help",
    );
    says(&playground, &config(&["--steps=9"]), "tip: that key is set by --set train.steps=9");
    says(&playground, &config(&["--sett", "a=b"]), "--sett");
    says(&playground, &set("train.stesp=1"), "the nearest valid one is \"train.steps\"");
    says(&playground, &set("steps=1"), "the nearest valid one is \"train.steps\"");
    says(&playground, &set("train.schedule=x"), "`wsd`, `two-stage`\n");
    says(&playground, &["report"], "arguments were not provided: <RUN>...; see --help");
    says(&playground, &set("train.steps=soon"), "train.steps: invalid type: string");
    says(&playground, &set("train.steps=0"), "train.steps is 0");
    says(&playground, &set("train.batch=99999999999999"), "train.batch is 99999999999999");
    says(
        &playground,
        &set("train.steps=9000000000000000000"),
        "train.steps is 9000000000000000000, must be between 1 and 1000000000000",
    );
    says(&playground, &set("train.tokens=9000000000000000000"), "must be 1000000000000 at most");
    says(&playground, &set("sample.prompt=1e300"), "sample.prompt: 1e300 is a number");
    says(&playground, &set("sample.temperature=1e300"), "temperature is 1e300, must be");
    says(
        &playground,
        &set("train.workers=99999999"),
        "train.workers is 99999999, must be between 1 and",
    );
    says(&playground, &set("data.cache="), "data.cache is empty");
    says(&playground, &set("data.datasets="), "data.datasets is empty");
    says(&playground, &set("train.init_from="), "train.init_from is empty");
    says(&playground, &set("model.quant=\u{1b}[2J"), "unknown variant `\\u{1b}[2J`");
    says(&playground, &set("train.epochs=-1"), "train.epochs is -1");
    says(&playground, &set("train.minutes=inf"), "train.minutes is inf");
    says(&playground, &set("checkpoint.every=0"), "checkpoint.every and checkpoint.minutes are");
    says(&playground, &set("train.lr=-1"), "train.lr is -1");
    says(&playground, &set("train.lr=nan"), "train.lr is NaN");
    says(&playground, &set("model.dim=0"), "error: --set model.dim is 0");
    says(&playground, &set("model.context=0"), "error: --set model.context is 0, must be");
    says(&playground, &set("model.init_std=1e308"), "model.init_std is 1e308, in 32 bits inf");
    says(&playground, &set("train.epsilon=1e-60"), "train.epsilon is 1e-60, in 32 bits 0, must be");
    says(&playground, &set("train.sched=linear"), "the nearest valid one is \"train.schedule\"");
    says(
        &playground,
        &set("sample.prompt=5"),
        "sample.prompt: 5 is a number, a text is wanted: --set 'sample.prompt=\"5\"'",
    );
    says(&playground, &set("model.dim=100000000000"), "dim is 100000000000");
    says(&playground, &set("model.kv_heads=3"), "model.heads 2 is no multiple of model.kv_heads 3");
    says(&playground, &set("model.quant=1.58bit"), "model.quant: ");
    says(&playground, &set("model.quant=binary-paper"), "needs model.norms \"in-linear\"");
    says(&playground, &set("model.group_size=5"), "group_size 5 does not divide");
    says(&playground, &set("backend.kind=cpu"), "backend.kind: unknown variant `cpu`");
    says(&playground, &config(&["--backend", "tpu"]), "unknown variant `tpu`");
    says(&playground, &set("sample.prompt="), "sample.prompt has 0 tokens");
    says(&playground, &set("sample.temperature=-1"), "temperature is -1");
    fs::write(playground.path("broken.toml"), "[train]\nsteps = = 2").unwrap();
    says(&playground, &["--config", "broken.toml", "--out", "run"], "broken.toml: line 2: ");
    fs::write(playground.path("binary.toml"), [0xff, 0xfe, 0]).unwrap();
    says(&playground, &["--config", "binary.toml", "--out", "run"], "cannot read binary.toml");
}

#[test]
fn numbers_of_the_command_line() {
    let playground = Playground::new();
    let search = ["lr-find", "--config", "tiny.toml", "--out", "run"];
    let finds = |args: &[&'static str]| [&search[..], args].concat();
    says(
        &playground,
        &finds(&["--steps", "18446744073709551615"]),
        "18446744073709551615 must be between 10 and 1000000000000",
    );
    says(&playground, &finds(&["--from", "1e-300"]), "the rates go from 1e-300 to 1, must rise");
    says(&playground, &finds(&["--grid", "1e300"]), "the rate 1e300 must be above 0, at most 1000");
    let twin = ["twin", "--config", "tiny.toml", "--out", "run", "--tune", "--tune-steps"];
    let error = "9999999999999 must be between 10 and 1000000000000";
    says(&playground, &[&twin[..], &["9999999999999"]].concat(), error);
}

#[test]
fn data() {
    let playground = Playground::new();
    let data = |source| ["--config", "tiny.toml", "--out", "run", "--data", source];
    says(&playground, &data("missing.txt"), "cannot read missing.txt");
    fs::write(playground.path("empty.txt"), "").unwrap();
    says(&playground, &data("empty.txt"), "the data is empty: empty.txt");
    fs::write(playground.path("short.txt"), "sixteen bytes + ").unwrap();
    says(&playground, &data("short.txt"), "the training data has 14 tokens, one window needs 17");
    fs::write(playground.path("bad.gz"), "not gzip").unwrap();
    says(&playground, &data("bad.gz"), "cannot read bad.gz");
}

#[test]
fn output_folders() {
    let playground = Playground::new();
    // A file in the way, and a folder that nobody can write to.
    let error = failed(playground.train(&["--config", "tiny.toml", "--out", "text.txt/run"]));
    assert!(error.contains("cannot create text.txt/run"), "{error}");
    let error = failed(playground.train(&["--config", "tiny.toml", "--out", "/proc/run"]));
    assert!(error.contains("cannot create /proc/run"), "{error}");

    let run = ["--config", "tiny.toml", "--out", "run", "--set", "train.steps=4"];
    succeeded(playground.train(&run));
    let model = read(playground.path("run/model/model.safetensors"));
    let error = failed(playground.train(&run));
    assert!(error.contains("run exists and is not empty; continue it with --resume run"));
    // A run's folder is its own, whatever is there and however it is reached.
    for inner in ["run/model", "run/new/run", "run/checkpoints", "run/model/../new"] {
        for command in [&[][..], &["twin"], &["lr-find"]] {
            let start = ["--config", "tiny.toml", "--out", inner];
            let error = failed(playground.train(&[command, &start].concat()));
            assert!(error.contains(&format!("{inner} is within the run /")), "{error}");
        }
    }
    assert!(!playground.path("run/new").exists());
    assert_eq!(read(playground.path("run/model/model.safetensors")), model);
}

/// Every file that is written fails, the first of the run's among them.
#[cfg(unix)]
#[test]
fn a_start_that_fails_late_leaves_no_folder() {
    use std::process::Command;

    let playground = Playground::new();
    // The text's tokens are in the cache.
    succeeded(playground.train(&["--config", "tiny.toml", "--out", "run", "--stop-at", "1"]));
    let script = "trap '' XFSZ; ulimit -f 0; exec $TRAIN --config tiny.toml --out runs/new";
    let mut limited = Command::new("sh");
    limited.args(["-c", script]).env("TRAIN", env!("CARGO_BIN_EXE_train"));
    let error = failed(limited.current_dir(playground.path(".")).output().unwrap());
    assert!(error.contains("cannot write runs/new/config.toml: File too large"), "{error}");
    assert!(!playground.path("runs").exists());
}

#[test]
fn resuming_nothing() {
    let playground = Playground::new();
    let error = failed(playground.train(&["--resume", "run"]));
    assert!(error.contains("run is no run folder"), "{error}");
}
