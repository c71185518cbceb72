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
    fs::create_dir(playground.path("small")).unwrap();
    fs::create_dir(playground.path("copy")).unwrap();
    // Room for some of the checkpoints, which take about 50 KiB each. What the first run leaves
    // is copied to where there is room, and goes on there.
    let script = "
        mount -t tmpfs -o size=600k tmpfs small
        if $TRAIN --config tiny.toml --out small/run LONG; then exit 7; fi
        cp -a small/run copy/full
        cp -a small/run copy/done
        $TRAIN --resume copy/done
    ";
    let Some(output) = in_namespace(&playground, &script.replace("LONG", &LONG.join(" "))) else {
        return;
    };
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    for part in [
        "error: ",
        "No space left on device",
        "is whole: free some space, then continue with --resume small/run",
    ] {
        assert!(errors.contains(part), "{part:?} is not in {errors:?}");
    }

    let full = playground.path("copy/full");
    let checkpoints = fs::read_dir(full.join("checkpoints")).unwrap().count();
    assert!((2..24).contains(&checkpoints), "{checkpoints} checkpoints fitted");
    let leftovers = fs::read_dir(full.join("checkpoints")).unwrap().flatten();
    let leftovers: Vec<_> = leftovers
        .map(|entry| entry.file_name())
        .filter(|name| !name.to_string_lossy().starts_with("step-"))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");

    let args = [&["--config", "tiny.toml", "--out", "whole"], &LONG[..]].concat();
    succeeded(playground.train(&args));
    let expected = Remains::of(&playground.path("whole"));
    Remains::of(&playground.path("copy/done")).assert_equals(&expected, "after the disk was full");
    // What was there when it was full is what an uninterrupted run wrote.
    for entry in fs::read_dir(full.join("checkpoints")).unwrap().flatten() {
        let model = |root: &str| {
            read(
                playground.path(root).join("checkpoints").join(entry.file_name()).join("model.mpk"),
            )
        };
        assert_eq!(model("copy/full"), model("whole"));
    }
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
