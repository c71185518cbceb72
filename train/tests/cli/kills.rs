//! Runs that are killed again and again (kill -9) at random moments, and resumed until they are
//! done, leave what an uninterrupted run leaves, byte for byte.
//!
//! The tests kill a few times. A hundred times and more:
//!
//! ```sh
//! KILLS=100 cargo test --release --test cli kills -- --nocapture
//! ```

use std::{env, fs, path::Path, process::Stdio, thread::sleep, time::Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::common::{Playground, Remains, read};

/// What a run may depend on, beside the defaults of the small configuration.
const VARIANTS: [&[&str]; 4] = [
    &["checkpoint.every=1", "train.optimizer=muon"],
    &[
        "checkpoint.every=2",
        "train.accumulation=3",
        "train.workers=2",
        "train.log_every=5",
        "train.ema=0.9",
    ],
    &["checkpoint.every=3", "train.schedule=two-stage", "eval.every=5", "eval.windows=3"],
    // No validation improves on the first one by much at this rate: the run ends early.
    &["checkpoint.every=5", "eval.every=2", "eval.patience=2", "train.lr=0.5", "sample.tokens=3"],
];

#[test]
fn killed_runs_end_like_uninterrupted_ones() {
    let kills = env::var("KILLS").map_or(6, |kills| kills.parse::<usize>().unwrap());
    let seed = env::var("KILLS_SEED").map_or(1, |seed| seed.parse::<u64>().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    let playground = Playground::new();
    let uninterrupted: Vec<_> = (0..VARIANTS.len())
        .map(|variant| {
            let started = Instant::now();
            let name = format!("whole-{variant}");
            let status = start(&playground, variant, &name).output().unwrap().status;
            assert!(status.success());
            (Remains::of(&playground.path(&name)), started.elapsed())
        })
        .collect();
    if let Some((early, _)) = uninterrupted.last() {
        assert!(early.last_step < 24, "the last variant is to end early");
    }

    let (mut killed, mut unfinished, mut runs, mut equal) = (0, 0, 0, 0);
    let mut at_steps = Vec::new();
    while killed < kills {
        let variant = runs % VARIANTS.len();
        let name = format!("run-{runs}");
        let (expected, duration) = &uninterrupted[variant];
        let mut command = start(&playground, variant, &name);
        // Up to three kills a run, the rest of it undisturbed.
        for attempt in 0.. {
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let moment = duration.mul_f64(rng.random_range(0.0..1.0));
            if attempt < 3 && killed < kills {
                sleep(moment);
                if child.try_wait().unwrap().is_none() {
                    child.kill().unwrap();
                    killed += 1;
                    at_steps.push(newest_checkpoint(&playground, &name));
                    unfinished += usize::from(has_unfinished(&playground.path(&name)));
                }
            }
            let status = child.wait().unwrap();
            if status.success() {
                break;
            }
            assert_eq!(
                status.code(),
                None,
                "run {runs}, seed {seed}: failed after {attempt} kills"
            );
            command = match playground.path(&name).join("config.toml").exists() {
                true => playground.command(&["--resume", &name]),
                // Killed before there was a run: it is started once more.
                false => start(&playground, variant, &name),
            };
        }
        let actual = Remains::of(&playground.path(&name));
        actual.assert_equals(expected, &format!("run {runs}, variant {variant}, seed {seed}"));
        equal += 1;
        runs += 1;
        fs::remove_dir_all(playground.path(&name)).unwrap();
    }
    println!(
        "{killed} kills (seed {seed}) in {runs} runs: {equal} of {runs} runs equal to the bit"
    );
    println!("{unfinished} kills left an unfinished file or folder");
    println!("newest checkpoint at each kill: {at_steps:?}");
    assert_eq!(equal, runs);
}

fn start(playground: &Playground, variant: usize, out: &str) -> std::process::Command {
    let mut args = vec!["--config", "tiny.toml", "--out", out, "--set", "train.steps=24"];
    args.extend(VARIANTS[variant].iter().flat_map(|pair| ["--set", pair]));
    playground.command(&args)
}

/// Step of the newest checkpoint, `None` before the first.
fn newest_checkpoint(playground: &Playground, name: &str) -> Option<u64> {
    let entries = fs::read_dir(playground.path(name).join("checkpoints")).ok()?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).max()
}

/// Whether a write into a temporary name was under way.
fn has_unfinished(run: &Path) -> bool {
    ["", "checkpoints", "samples"].iter().any(|folder| {
        let entries = fs::read_dir(run.join(folder)).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".bitnet-"))
    })
}

#[test]
fn the_comparison_sees_one_bit() {
    let playground = Playground::new();
    assert!(start(&playground, 0, "run").output().unwrap().status.success());
    let whole = Remains::of(&playground.path("run"));
    assert!(whole.differences(&whole).is_empty());
    let optimizer = "checkpoints/step-00000024/optimizer.mpk";
    let tables = ["metrics.csv", "instruments.csv"];
    for name in
        [&[optimizer, "model/model.safetensors", "samples/step-00000004.txt"], &tables[..]].concat()
    {
        let path = playground.path("run").join(name);
        let mut bytes = read(&path);
        // The last row of the metrics begins with its step.
        let at = match name {
            "metrics.csv" | "instruments.csv" => {
                bytes.iter().rposition(|&byte| byte == b'\n').unwrap()
            }
            _ => bytes.len(),
        };
        let at = bytes[..at - 1].iter().rposition(|&byte| byte != b',').unwrap();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(Remains::of(&playground.path("run")).differences(&whole).len(), 1, "{name}");
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
}
