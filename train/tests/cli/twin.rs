//! `train twin`: a series of normal runs, stopped and gone on with as one.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

use crate::common::{Playground, failed, read, succeeded};

fn twin<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let start = ["twin", "--config", "tiny.toml", "--out", "series"];
    start.into_iter().chain(more.iter().copied()).collect()
}

fn json(playground: &Playground) -> Value {
    serde_json::from_slice(&read(playground.path("series/twin.json"))).unwrap()
}

/// Name, seed and loss of every run in the comparison.
fn losses(comparison: &Value) -> Vec<(String, u64, f64)> {
    let models = comparison["models"].as_array().unwrap().iter();
    models
        .flat_map(|model| {
            let name = model["name"].as_str().unwrap();
            let runs = model["runs"].as_array().unwrap().iter();
            runs.map(move |run| {
                (name.to_owned(), run["seed"].as_u64().unwrap(), run["loss"].as_f64().unwrap())
            })
        })
        .collect()
}

#[test]
fn all_models_are_compared() {
    let playground = Playground::new();
    let shown = succeeded(playground.train(&twin(&["--binary", "--double", "--seeds", "1,2"])));
    let comparison = json(&playground);
    let found = losses(&comparison);
    let names = ["ternary", "full-precision", "binary", "double-ternary"];
    let expected: Vec<_> = names.iter().flat_map(|name| [(*name, 1), (*name, 2)]).collect();
    assert_eq!(found.iter().map(|run| (run.0.as_str(), run.1)).collect::<Vec<_>>(), expected);

    // Each run is what the program trains from the same keys.
    let direct: [&[&str]; 2] = [
        &["--config", "tiny.toml", "--out", "direct", "--set", "seed=2"],
        &[
            "--config",
            "tiny.toml",
            "--out",
            "full",
            "--set",
            "model.quant=none",
            "--set",
            "train.lr=5e-3",
            "--set",
            "train.second_lr=5e-4",
            "--set",
            "seed=1",
        ],
    ];
    let model = |run: &str| read(playground.path(run).join("model/model.safetensors"));
    for (args, (alone, of_series)) in direct
        .iter()
        .zip([("direct", "series/ternary-seed2"), ("full", "series/full-precision-seed1")])
    {
        succeeded(playground.train(args));
        assert_eq!(model(alone), model(of_series), "{of_series}");
    }

    // 256 bytes · 16, and a block: four matrices of 16², three of 16 · 32, gains 3 · 16 + 32, and
    // the last gain. Quantised: the matrices.
    let (ternary, double) = (&comparison["models"][0], &comparison["models"][3]);
    let matrices = 4 * 256 + 3 * 512;
    let others = 4096 + 80 + 16;
    assert_eq!(ternary["parameters"], matrices + others);
    assert_eq!(ternary["packed_bytes"], matrices / 4 + 7 * 4 + 4 * others);
    assert_eq!(comparison["models"][1]["packed_bytes"], 4 * (matrices + others));
    assert_eq!(double["parameters"], 4 * matrices + 2 * others);

    let markdown = String::from_utf8(read(playground.path("series/twin.md"))).unwrap();
    assert_eq!(matrices + others, 6752);
    assert!(markdown.contains("| ternary | 1e-2 | 6,752 | 17,436 | "), "{markdown}");
    let mean = ternary["bits_per_byte"]["mean"].as_f64().unwrap();
    assert!(shown.contains(&format!("{mean:.4} ± ")), "{shown}");
}

#[test]
fn a_stopped_series_goes_on_and_ends_the_same() {
    let playground = Playground::new();
    // The threads are limited once for all runs.
    let whole = ["--out", "whole", "--set", "backend.threads=1"];
    succeeded(playground.train(&[&["twin", "--config", "tiny.toml"], &whole[..]].concat()));
    let shown = succeeded(playground.train(&twin(&["--stop-at", "7"])));
    assert!(shown.contains("stopped: 0 of 2 runs have ended; the same command goes on"), "{shown}");
    assert!(!playground.path("series/twin.json").exists());
    assert!(!playground.path("series/full-precision-seed3").exists());
    let shown = succeeded(playground.train(&twin(&[])));
    assert!(shown.contains("continuing after step 7\n"), "{shown}");

    for run in ["ternary-seed3", "full-precision-seed3"] {
        let model =
            |series: &str| read(playground.path(series).join(run).join("model/model.safetensors"));
        assert!(model("series") == model("whole"), "{run}");
    }
    // What has ended is not run again; a longer run goes on with all.
    let written = fs::metadata(playground.path("series/ternary-seed3/metrics.csv")).unwrap();
    let shown = succeeded(playground.train(&twin(&[])));
    assert_eq!(shown.matches("the run is at its end").count(), 2, "{shown}");
    let now = fs::metadata(playground.path("series/ternary-seed3/metrics.csv")).unwrap();
    assert_eq!(now.modified().unwrap(), written.modified().unwrap());
    let shown = succeeded(playground.train(&twin(&["--set", "train.steps=16"])));
    assert_eq!(shown.matches("continuing after step 12\n").count(), 2, "{shown}");
}

#[test]
fn a_failed_run_is_named_and_the_others_are_compared() {
    let playground = Playground::new();
    succeeded(playground.train(&twin(&[])));
    fs::remove_dir_all(playground.path("series/ternary-seed3")).unwrap();
    fs::create_dir(playground.path("series/ternary-seed3")).unwrap();
    fs::write(playground.path("series/ternary-seed3/notes.txt"), "in the way").unwrap();
    let error = failed(playground.train(&twin(&[])));
    assert!(
        error.starts_with("error: ternary-seed3 failed: series/ternary-seed3 exists"),
        "{error}"
    );
    assert_eq!(losses(&json(&playground)).len(), 1);

    // Another configuration than that of the finished runs.
    fs::remove_dir_all(playground.path("series/ternary-seed3")).unwrap();
    let error = failed(playground.train(&twin(&["--set", "train.clip=0.5"])));
    assert!(error.contains("full-precision-seed3 failed: a resumed run cannot change"), "{error}");
    let mut new = twin(&["--seeds", "1,9223372036854775808"]);
    new[4] = "new";
    let error = failed(playground.train(&new));
    assert!(error.contains("seed is 9223372036854775808, must be between 0 and 9223"), "{error}");
    assert!(!playground.path("new").exists());
    let error = failed(playground.train(&twin(&["--set", "twin.double_lr=-1"])));
    assert!(error.contains("twin.double_lr is -1"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_signal_stops_the_whole_series() {
    let playground = Playground::new();
    let never = ["--set", "train.steps=1000000", "--set", "eval.every=1000000"];
    let mut command = playground.command(&twin(&never));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    while !playground.path("series/ternary-seed3/checkpoints/step-00000004").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the series ended by itself");
        sleep(Duration::from_millis(10));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let shown = succeeded(child.wait_with_output().unwrap());
    assert!(
        shown.ends_with("stopped: 0 of 2 runs have ended; the same command goes on\n"),
        "{shown}"
    );
    assert!(!playground.path("series/full-precision-seed3").exists());
    let shown = succeeded(playground.train(&twin(&[&never[..], &["--stop-at", "1"]].concat())));
    assert!(shown.contains("continuing after step "), "{shown}");
}
