//! What a run shows of itself, and that looking at it changes nothing.

use std::fs;

use crate::common::{Playground, metrics, read, succeeded};

/// The output of a run in `out` with some keys set.
fn run(playground: &Playground, out: &str, set: &[&str]) -> String {
    let set = set.iter().flat_map(|pair| ["--set", *pair]);
    let args: Vec<_> = ["--config", "tiny.toml", "--out", out].into_iter().chain(set).collect();
    succeeded(playground.train(&args))
}

/// The last checkpoint's weights.
fn weights(playground: &Playground, out: &str) -> Vec<u8> {
    read(playground.path(out).join("checkpoints/step-00000012/model.mpk"))
}

fn result(playground: &Playground, out: &str) -> serde_json::Value {
    serde_json::from_slice(&read(playground.path(out).join("result.json"))).unwrap()
}

#[test]
fn instruments_are_recorded_and_change_nothing() {
    let playground = Playground::new();
    let shown = run(&playground, "seen", &[]);
    run(&playground, "unseen", &["log.instruments=false"]);
    assert_eq!(weights(&playground, "seen"), weights(&playground, "unseen"));
    assert!(!playground.path("unseen/instruments.csv").exists());

    let line = shown.lines().find(|line| line.starts_with("step 2/12 ")).unwrap();
    for part in [" | grad ", " | flips "] {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
    assert!(shown.contains("instruments took "), "{shown}");
    assert!(result(&playground, "seen")["instrument_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(result(&playground, "unseen")["instrument_seconds"], 0.0);

    // 6 log lines of 7 linears.
    let table = String::from_utf8(read(playground.path("seen/instruments.csv"))).unwrap();
    let (header, rows) = table.split_once('\n').unwrap();
    assert_eq!(
        header,
        "step,layer,zeros,flip_rate,scale,near_threshold,saturated,activation_zeros,\
         activation_crest"
    );
    assert_eq!(rows.lines().count(), 42);
    let column = |line: &str, at: usize| line.split(',').nth(at).unwrap().parse::<f64>().unwrap();
    let mut flips = 0.0;
    for row in rows.lines() {
        assert!((0.05..0.7).contains(&column(row, 2)), "zeros of {row}");
        assert!((0.0..0.5).contains(&column(row, 3)), "flips of {row}");
        assert!(column(row, 4) > 0.0, "scale of {row}");
        assert!((0.0..0.3).contains(&column(row, 5)), "near threshold of {row}");
        assert!((1.0 / 32.0..=1.0).contains(&column(row, 6)), "saturated of {row}");
        assert!((0.0..1.0).contains(&column(row, 7)), "zeros of the inputs of {row}");
        assert!((1.0..=5.7).contains(&column(row, 8)), "crest of {row}");
        flips += column(row, 3);
    }
    assert!(flips > 0.0, "nothing is learned at this rate");

    // The total of a log line is the mean over the weights: 16·16 in q, k, v and o, 16·32 in the
    // other three.
    let metrics = metrics(&playground.path("seen"));
    let at = metrics[0].iter().position(|name| name == "zeros").unwrap();
    let first = metrics.iter().find(|row| row[0] == "2").unwrap()[at].parse::<f64>().unwrap();
    let layers = rows.lines().filter(|row| row.starts_with("2,"));
    let weighted = layers.map(|row| if row.contains("mlp") { 2.0 } else { 1.0 } * column(row, 2));
    assert!((weighted.sum::<f64>() / 10.0 - first).abs() < 1e-9);
}

#[test]
fn lines_begin_with_what_the_run_is_and_end_with_what_to_type() {
    let playground = Playground::new();
    let shown = run(&playground, "run", &["log.ceiling=true"]);
    let lines: Vec<&str> = shown.lines().collect();
    let start = [
        "folder  run",
        "model   6,752 parameters, ternary; dim 16, depth 1, heads 2, context 16",
        "data    ",
        "device  flex on cpu",
        "steps   12 of 64 tokens: 768 tokens, 0.32 times the text",
        "matrix products: ",
    ];
    for (line, start) in lines.iter().zip(start) {
        assert!(line.starts_with(start), "{line:?} does not start with {start:?}");
    }
    assert!(lines[2].ends_with("2,430 tokens (2.4 k bytes) to train on, 270 held out"), "{shown}");
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("next: ") && last.ends_with("generate --model run/model --prompt The")
    );
    // The last one has the path of the program.
    for line in &lines[..lines.len() - 1] {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let resumed = succeeded(playground.train(&["--resume", "run", "--set", "train.steps=14"]));
    assert!(
        resumed.contains("steps   14 of 64 tokens: 896 tokens, 0.37 times the text; 12 are done")
    );
}

#[test]
fn a_run_in_full_precision_has_no_instruments() {
    let playground = Playground::new();
    let shown = run(&playground, "twin", &["model.quant=none"]);
    assert!(!shown.contains("zeros") && !shown.contains("instruments took"), "{shown}");
    assert!(!playground.path("twin/instruments.csv").exists());
}

#[test]
fn the_speed_is_compared_with_the_ceiling_and_changes_nothing() {
    let playground = Playground::new();
    let shown = run(&playground, "measured", &["log.ceiling=true"]);
    run(&playground, "unmeasured", &[]);
    assert_eq!(weights(&playground, "measured"), weights(&playground, "unmeasured"));
    assert!(shown.contains(" % of the measured matmul peak, "), "{shown}");
    let measured = result(&playground, "measured");
    let number = |key: &str| measured[key].as_f64().unwrap();
    // 6 · (4·16·16 + 3·16·32 + 256·16) + 12 · 16 · 16.
    assert_eq!(number("flops_per_token"), 43_008.0);
    // The embedding, that, and gains: 3 of the width and one of the hidden layer a block, one at
    // the end.
    assert_eq!(number("parameters"), 4096.0 + 2560.0 + 4.0 * 16.0 + 32.0);
    let share = number("model_flops_utilization");
    let expected = number("tokens_per_second") * 43_008.0 / number("matmul_ceiling");
    assert!((share / expected - 1.0).abs() < 1e-9 && share > 0.0 && share < 1.0, "{share}");
    assert!(result(&playground, "unmeasured")["matmul_ceiling"].is_null());
}

#[test]
fn each_session_has_a_file_of_events() {
    let playground = Playground::new();
    let start = ["--config", "tiny.toml", "--out", "run", "--stop-at", "5"];
    succeeded(playground.train(&start));
    succeeded(playground.train(&["--resume", "run"]));
    // Nothing is left to do, and nothing is written.
    succeeded(playground.train(&["--resume", "run"]));
    let entries = fs::read_dir(playground.path("run")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.contains("tfevents")).collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].ends_with(".0001") && names[1].ends_with(".0002"), "{names:?}");
    for name in &names {
        let bytes = read(playground.path("run").join(name));
        let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
        for tag in ["brain.Event:2", "loss/train", "quantization/flip_rate", "sample"] {
            assert!(holds(tag.as_bytes()), "{tag} is not in {name}");
        }
    }
}
