//! How runs end before their time: by signals, closed pipes, and memory that is not there.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::common::{Playground, Remains, failed, succeeded};

/// Arguments of a run in `out` with some keys set.
fn run<'a>(out: &'a str, set: &[&'a str]) -> Vec<&'a str> {
    let set = set.iter().flat_map(|pair| ["--set", *pair]);
    ["--config", "tiny.toml", "--out", out].into_iter().chain(set).collect()
}

fn send(signal: &str, child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_printed_to_be_kept_is_whole_or_an_error() {
    let playground = Playground::new();
    for args in [&["--print-config"][..], &["completions", "bash"], &["man"]] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let child = playground.command(args).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let error = failed(child.wait_with_output().unwrap());
        assert!(error.contains("cannot write to standard output: No space left"), "{error}");
    }
}

#[test]
fn signals_save_and_a_second_one_ends_at_once() {
    let playground = Playground::new();
    let start = |args: &[&str]| {
        let before = read_len(&playground);
        let mut child = playground.command(args).stdout(Stdio::piped()).spawn().unwrap();
        while read_len(&playground) < before + 200 {
            assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
            sleep(Duration::from_millis(10));
        }
        child
    };
    let never = ["train.steps=1000000", "eval.every=1000000", "checkpoint.every=1000000"];
    let child = start(&run("run", &never));
    send("-TERM", &child);
    let output = child.wait_with_output().unwrap();
    let shown = succeeded(output);
    assert!(shown.trim_end().ends_with("train --resume run"), "{shown}");
    assert_eq!(fs::read_dir(playground.path("run/checkpoints")).unwrap().count(), 1);

    // Steps of minutes: the first signal waits for the step, the second does not.
    let slow = [&never[..2], &["train.accumulation=1000000", "train.log_every=1"]].concat();
    let mut child = playground.command(&run("slow", &slow)).stdout(Stdio::null()).spawn().unwrap();
    while !playground.path("slow/metrics.csv").exists() {
        sleep(Duration::from_millis(10));
    }
    sleep(Duration::from_millis(300));
    send("-INT", &child);
    sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "the first signal waits for the step");
    send("-INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

fn read_len(playground: &Playground) -> u64 {
    fs::metadata(playground.path("run/metrics.csv")).map_or(0, |file| file.len())
}

/// `train … | head`.
#[test]
fn a_reader_that_leaves_stops_nothing() {
    let playground = Playground::new();
    succeeded(playground.train(&run("whole", &[])));
    let mut child = playground
        .command(&run("run", &[]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let expected = Remains::of(&playground.path("whole"));
    Remains::of(&playground.path("run")).assert_equals(&expected, "unread");
}

/// Rust aborts where an allocation fails.
#[test]
fn aborting_is_exit_code_one() {
    let playground = Playground::new();
    let never = ["train.steps=1000000", "eval.every=1000000", "checkpoint.every=1000000"];
    let mut child = playground
        .command(&run("run", &never))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while read_len(&playground) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        sleep(Duration::from_millis(10));
    }
    send("-ABRT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
