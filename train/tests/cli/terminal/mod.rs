//! Runs on a pseudo-terminal, as people sit before them: keys, signals, sizes, and a terminal that
//! goes away.
//!
//! Each is done once. Twenty times:
//!
//! ```sh
//! TERMINAL_RUNS=20 cargo test --release --test cli terminal -- --nocapture
//! ```

mod screens;
mod seat;
mod stops;

use std::{env, fs, time::Duration};

use crate::common::Playground;

/// Columns and rows.
type Size = (u16, u16);
const SIZES: [Size; 3] = [(150, 50), (80, 24), (40, 12)];
/// A run that never ends by itself.
const NEVER: [&str; 4] =
    ["train.steps=1000000", "eval.every=1000000", "checkpoint.every=1000000", "train.log_every=20"];
/// A run whose first step never ends.
const SLOW: [&str; 4] = [
    "train.steps=1000000",
    "eval.every=1000000",
    "train.accumulation=1000000",
    "train.log_every=1",
];
/// Longer than anything here takes, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

fn times() -> usize {
    env::var("TERMINAL_RUNS").map_or(1, |runs| runs.parse().unwrap())
}

/// Arguments of a run in `out` with some keys set.
fn run<'a>(out: &'a str, set: &[&'a str]) -> Vec<&'a str> {
    let set = set.iter().flat_map(|pair| ["--set", *pair]);
    ["--config", "tiny.toml", "--out", out].into_iter().chain(set).collect()
}

fn checkpoints(playground: &Playground, out: &str) -> usize {
    fs::read_dir(playground.path(out).join("checkpoints")).unwrap().count()
}
