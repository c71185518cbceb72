//! Writes that fail because there is no room: the error says what to do, and every checkpoint
//! written before is as it was.
//!
//! The full file system is a small tmpfs in a mount namespace of its own, which needs Linux and
//! either root or unprivileged user namespaces. The limit on the size of files works on any Unix.

use std::{
    fs,
    process::{Command, Output},
};

use crate::common::{Playground, Remains, failed, read, succeeded};

const LONG: [&str; 6] =
    ["--set", "train.steps=24", "--set", "checkpoint.keep=1000", "--set", "checkpoint.every=1"];

/// Runs a shell script in which `$TRAIN` is the program, with the options that `unshare` needs.
fn in_namespace(playground: &Playground, script: &str) -> Option<Output> {
    let options: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let works = |options: &&&[&str]| {
        let mount = ["sh", "-c", "mount -t tmpfs tmpfs /tmp"];
        let status = Command::new("unshare").args(**options).args(mount).output();
        status.is_ok_and(|output| output.status.success())
    };
    let Some(options) = options.iter().find(works) else {
        eprintln!("SKIPPED: no tmpfs can be mounted here, as root or in a user namespace");
        return None;
    };
    let mut command = Command::new("unshare");
    command.args(*options).args(["sh", "-ec", script]).current_dir(playground.path("."));
    Some(command.env("TRAIN", env!("CARGO_BIN_EXE_train")).output().unwrap())
}

#[test]
fn a_full_file_system_leaves_the_earlier_checkpoints() {
    let playground = Playground::new();
    for folder in ["small", "full", "done"] {
        fs::create_dir(playground.path(folder)).unwrap();
    }
    let args = [&["--config", "tiny.toml", "--out", "whole"], &LONG[..]].concat();
    succeeded(playground.train(&args));
    let expected = Remains::of(&playground.path("whole"));
    // From no room for a checkpoint, of about 50 KiB, to room for several: the write that fails is
    // each time another one.
    let mut most = 0;
    for kib in (60..=600).step_by(45) {
        match fill(&playground, kib, &expected) {
            Some(checkpoints) => most = most.max(checkpoints),
            None => return,
        }
    }
    assert!((2..24).contains(&most), "{most} checkpoints at most fitted");
}

/// Runs into a file system of a size, and goes on from a copy of what is left, where there is
/// room. Returns the number of checkpoints that fitted, `None` if there can be no such file system.
fn fill(playground: &Playground, kib: u32, expected: &Remains) -> Option<usize> {
    let script = "
        mount -t tmpfs -o size=SIZEk tmpfs small
        if $TRAIN --config tiny.toml --out small/run LONG; then exit 7; fi
        cp -a small/run full/SIZE
        cp -a small/run done/SIZE
        $TRAIN --resume done/SIZE
    ";
    let script = script.replace("LONG", &LONG.join(" ")).replace("SIZE", &kib.to_string());
    let output = in_namespace(playground, &script)?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{kib} KiB: {errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");

    let checkpoints = playground.path(&format!("full/{kib}/checkpoints"));
    let entries = fs::read_dir(&checkpoints).unwrap();
    let names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let advice = match names.is_empty() {
        true => "there is no checkpoint yet: free some space, then begin again with --resume",
        false => "is whole: free some space, then continue with --resume small/run",
    };
    for part in ["error: ", "No space left on device", advice] {
        assert!(errors.contains(part), "{part:?} is not in {errors:?}");
    }
    // What was there when it was full is what an uninterrupted run wrote.
    for name in &names {
        assert!(name.starts_with("step-"), "{name} was left behind");
        let whole = playground.path("whole/checkpoints").join(name).join("model.mpk");
        assert_eq!(read(checkpoints.join(name).join("model.mpk")), read(whole));
    }
    let done = playground.path(&format!("done/{kib}"));
    Remains::of(&done).assert_equals(expected, &format!("after {kib} KiB were full"));
    Some(names.len())
}

#[cfg(unix)]
#[test]
fn a_failed_write_leaves_the_earlier_checkpoints() {
    let playground = Playground::new();
    let first = ["--config", "tiny.toml", "--out", "run", "--stop-at", "5"];
    succeeded(playground.train(&[&first[..], &LONG].concat()));
    let newest = playground.path("run/checkpoints/step-00000005");
    let before = read(newest.join("model.mpk"));
    // Files may have 4 blocks of 512 bytes: less than the records have. The signal that tells a
    // process so is ignored, so that the write itself fails.
    let script = "trap '' XFSZ; ulimit -f 4; exec $TRAIN --resume run";
    let mut limited = Command::new("sh");
    limited.args(["-c", script]).env("TRAIN", env!("CARGO_BIN_EXE_train"));
    let error = failed(limited.current_dir(playground.path(".")).output().unwrap());
    assert!(error.contains("cannot write ") && error.contains("File too large"), "{error}");
    assert!(error.contains("checkpoint of step 5 is whole: free some space, then"), "{error}");
    assert_eq!(read(newest.join("model.mpk")), before);

    succeeded(playground.train(&["--resume", "run"]));
    succeeded(
        playground.train(&[&["--config", "tiny.toml", "--out", "whole"], &LONG[..]].concat()),
    );
    let expected = Remains::of(&playground.path("whole"));
    Remains::of(&playground.path("run")).assert_equals(&expected, "after a failed write");
}
