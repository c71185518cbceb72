//! `infer eval`, against windows evaluated one by one through the library.

use std::{fs, io::Write};

use crate::common::{B, CONTEXT, Folder};
use bitnet::{
    data::{Batch, Tokens, windows},
    loss::token_losses,
};
use flate2::write::GzEncoder;
use serde_json::Value;

/// A text of 1,003 tokens and fewer characters, not a whole number of windows.
fn text() -> Vec<u8> {
    let mut text = "ñandú — in the beginning, 1, 2, 3. ".repeat(40).into_bytes();
    text.truncate(1003);
    text
}

/// Nats of each window, one at a time.
fn by_hand(folder: &Folder, text: &[u8], stride: usize) -> f64 {
    let model = folder.load();
    let tokens = Tokens::from(model.tokenizer.encode(text).expect("tokens"));
    let mut nats = 0.0;
    for window in windows(tokens.len(), CONTEXT, stride) {
        let batch = Batch::<B>::gather(&tokens, &[window.start], window.len, &model.device());
        let logits = model.model.forward(batch.inputs).expect("logits");
        let losses = token_losses(logits, batch.targets).into_data();
        nats += losses.iter::<f64>().skip(window.context).sum::<f64>();
    }
    nats
}

fn eval(folder: &Folder, args: &[&str]) -> Value {
    folder.run("eval", &[args, &["--json"]].concat()).json()
}

#[track_caller]
fn assert_near(actual: &Value, expected: f64, tolerance: f64) {
    let actual = actual.as_f64().expect("a number");
    assert!((actual / expected - 1.0).abs() < tolerance, "{actual} instead of {expected}");
}

#[test]
fn agrees_with_windows_one_by_one() {
    let folder = Folder::new();
    let data = folder.write("text.txt", text());
    for (args, stride) in
        [(vec![], CONTEXT), (vec!["--stride", "7"], 7), (vec!["--stride", "1"], 1)]
    {
        let nats = by_hand(&folder, &text(), stride);
        let result = eval(&folder, &[&["--data", &data], &args[..]].concat());
        // Every token but the first is predicted, once, whatever the stride.
        assert_eq!((&result["tokens"], &result["bytes"]), (&1002.into(), &1002.into()));
        assert_eq!((&result["context"], &result["stride"]), (&CONTEXT.into(), &stride.into()));
        assert_near(&result["nats_per_token"], nats / 1002.0, 1e-5);
        assert_near(&result["bits_per_byte"], nats / 1002.0 / std::f64::consts::LN_2, 1e-5);
        assert_near(&result["perplexity"], (nats / 1002.0).exp(), 1e-5);
    }
}

#[test]
fn the_batch_size_and_the_backend_do_not_matter() {
    let folder = Folder::new();
    let data = folder.write("text.txt", text());
    let nats = by_hand(&folder, &text(), CONTEXT);
    for (option, value, tolerance) in [
        ("--batch", "1", 1e-5),
        ("--batch", "3", 1e-5),
        ("--batch", "1000", 1e-5),
        // Another order of additions turns a few 8-bit codes into their neighbours.
        ("--backend", "ndarray", 1e-3),
    ] {
        let result = eval(&folder, &["--data", &data, option, value]);
        assert_near(&result["nats_per_token"], nats / 1002.0, tolerance);
    }
}

#[test]
fn sources_make_one_text() {
    let folder = Folder::new();
    let text = text();
    let whole = folder.write("whole.txt", &text);
    let (first, rest) = text.split_at(500);
    let first = folder.write("first.txt", first);
    fs::create_dir(folder.path("rest")).unwrap();
    folder.write("rest/a.txt", &rest[..100]);
    let mut gz = GzEncoder::new(Vec::new(), Default::default());
    gz.write_all(&rest[100..]).unwrap();
    folder.write("rest/b.gz", gz.finish().unwrap());
    let rest = folder.arg("rest");

    let expected = eval(&folder, &["--data", &whole]);
    assert_eq!(eval(&folder, &["--data", &first, &rest]), expected);
    assert_eq!(eval(&folder, &["--data", &first, "--data", &rest]), expected);
}

#[test]
fn short_texts_are_one_window() {
    let folder = Folder::new();
    for length in [2, CONTEXT, CONTEXT + 1] {
        let data = folder.write("short.txt", &text()[..length]);
        let result = eval(&folder, &["--data", &data]);
        assert_eq!(result["tokens"], length - 1);
        let nats = by_hand(&folder, &text()[..length], CONTEXT);
        assert_near(&result["nats_per_token"], nats / (length - 1) as f64, 1e-5);
    }
}

#[test]
fn the_text_output_is_the_json_rounded() {
    let folder = Folder::new();
    let data = folder.write("text.txt", text());
    let result = eval(&folder, &["--data", &data, "--stride", "16"]);
    let run = folder.run("eval", &["--data", &data, "--stride", "16"]);
    assert_eq!(run.stderr, "", "the bar is for terminals");
    let text = run.stdout();
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).expect("a line of that name");
        line[name.len()..].trim().to_owned()
    };
    for (name, key) in [
        ("nats/token", "nats_per_token"),
        ("bits/byte", "bits_per_byte"),
        ("perplexity", "perplexity"),
    ] {
        assert_eq!(value(name), format!("{:.4}", result[key].as_f64().unwrap()));
    }
    assert_eq!(value("tokens predicted"), "1,002");
    assert_eq!(value("bytes predicted"), "1,002");
    assert_eq!(value("stride"), "16");
}

#[test]
fn packed_weights_have_nearly_the_same_loss() {
    let folder = Folder::new();
    let data = folder.write("text.txt", text());
    let float = eval(&folder, &["--data", &data]);
    let nats = float["nats_per_token"].as_f64().expect("a number");
    for (head, tolerance) in [("f32", 1e-3), ("bf16", 0.02), ("int8", 0.05)] {
        let packed = eval(&folder, &["--data", &data, "--packed", "--head", head]);
        assert_near(&packed["nats_per_token"], nats, tolerance);
        assert_eq!(packed["tokens"], float["tokens"]);
        assert_eq!(packed["bytes"], float["bytes"]);
    }
    folder.run("eval", &["--data", &data, "--head", "f32"]).assert_fails(&["--packed"]);
}
