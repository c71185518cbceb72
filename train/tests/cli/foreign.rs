//! What is not the program's own: links and pipes where its files should be, files of the user's
//! among them, folders that are no runs.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    common::{Playground, failed, read, succeeded},
    places::snapshot,
};

const RUN: [&str; 6] = ["--config", "tiny.toml", "--out", "run", "--stop-at", "6"];

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Runs the program, which must not wait for anything for long.
fn at_once(playground: &Playground, args: &[&str]) -> Output {
    let mut command = playground.command(args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("{args:?} waits");
        }
        sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// The file of tokens in the cache.
fn token_file(playground: &Playground) -> PathBuf {
    let entries = fs::read_dir(playground.path("cache/tokens")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|name| name == "tokens")).unwrap()
}

#[test]
fn links_in_a_run_are_not_written_through() {
    let playground = Playground::new();
    fs::write(playground.path("victim"), "years of work").unwrap();
    // The lock alone counts as a start that was killed; through a link it is somebody's file.
    fs::create_dir(playground.path("run")).unwrap();
    symlink("../victim", playground.path("run/lock")).unwrap();
    let error = failed(playground.train(&RUN));
    assert!(error.contains("run exists and is not empty"), "{error}");
    fs::remove_dir_all(playground.path("run")).unwrap();

    succeeded(playground.train(&RUN));
    let files = ["lock", "config.toml", "metrics.csv", "instruments.csv", "result.json"];
    let folders = ["model", "best", "ema", "checkpoints", "samples"];
    for name in files.iter().chain(&folders) {
        let (path, kept) = (playground.path("run").join(name), playground.path("kept"));
        if path.exists() {
            fs::rename(&path, &kept).unwrap();
        }
        for odd in ["link", "pipe"] {
            match odd {
                // To just what the program is looking for.
                "link" if folders.contains(name) && kept.exists() => {
                    symlink("../kept", &path).unwrap();
                }
                "link" => symlink("../victim", &path).unwrap(),
                _ => pipe(&path),
            }
            let before = snapshot(&playground.path("."));
            let error = failed(at_once(&playground, &["--resume", "run"]));
            let what = if odd == "link" { "is a symbolic link" } else { "is a pipe" };
            assert!(error.contains(&format!("run/{name}")) || *name == "lock", "{name}: {error}");
            assert!(error.contains(what), "{name}: {error}");
            let mut after = snapshot(&playground.path("."));
            // The lock names another process, and the tables are cut where the checkpoint is.
            for path in ["run/lock", "run/config.toml"] {
                let path = playground.path("./").join(path);
                if before.contains_key(&path) {
                    after.insert(path.clone(), before[&path].clone());
                }
            }
            assert!(after == before, "{name}: something has changed");
            fs::remove_file(&path).unwrap();
        }
        if kept.exists() {
            fs::rename(&kept, &path).unwrap();
        }
    }
    succeeded(playground.train(&["--resume", "run"]));
    assert_eq!(read(playground.path("victim")), b"years of work");
}

#[test]
fn links_to_folders_are_not_followed_by_what_reads() {
    let playground = Playground::new();
    succeeded(playground.train(&RUN));
    let elsewhere = playground.path("elsewhere");
    let samples = playground.path("run/samples");
    fs::rename(&samples, &elsewhere).unwrap();
    symlink("../elsewhere", &samples).unwrap();
    let error = failed(playground.train(&["report", "run"]));
    let expected = "cannot read run/samples: it is a symbolic link, not a folder";
    assert!(error.contains(expected), "{error}");
    fs::remove_file(&samples).unwrap();
    fs::rename(&elsewhere, &samples).unwrap();

    // A checkpoint that is elsewhere is none of the run's.
    let newest = playground.path("run/checkpoints/step-00000006");
    fs::rename(&newest, &elsewhere).unwrap();
    symlink("../../elsewhere", &newest).unwrap();
    let before = snapshot(&elsewhere);
    let output = playground.train(&["--resume", "run"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = "step-00000006 is damaged (it is a symbolic link, not a folder)";
    assert!(errors.contains(expected), "{errors}");
    assert!(succeeded(output).contains("continuing after step 4\n"));
    assert!(snapshot(&elsewhere) == before);
}

#[test]
fn links_in_a_checkpoint_and_in_the_cache_are_not_followed() {
    let playground = Playground::new();
    succeeded(playground.train(&RUN));
    let newest = playground.path("run/checkpoints/step-00000006");
    for name in ["model.mpk", "manifest.json"] {
        // The content is right, and may be another one when it is read.
        fs::rename(newest.join(name), playground.path("elsewhere")).unwrap();
        for odd in ["link", "pipe"] {
            match odd {
                "link" => symlink(playground.path("elsewhere"), newest.join(name)).unwrap(),
                _ => pipe(&newest.join(name)),
            }
            let args = ["--resume", "run", "--stop-at", "6"];
            let output = at_once(&playground, &args);
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(errors.contains("step-00000006 is damaged"), "{errors}");
            fs::remove_dir_all(playground.path("run/checkpoints/step-00000006")).unwrap();
            fs::rename(playground.path("run/checkpoints/damaged-step-00000006"), &newest).unwrap();
            fs::remove_file(newest.join(name)).unwrap();
        }
        fs::rename(playground.path("elsewhere"), newest.join(name)).unwrap();
    }

    let tokens = token_file(&playground);
    fs::write(playground.path("victim"), "years of work").unwrap();
    for path in [tokens.clone(), playground.path("cache/tokens/lock")] {
        fs::remove_file(&path).unwrap();
        if path != tokens {
            fs::remove_file(&tokens).unwrap();
        }
        symlink("../../victim", &path).unwrap();
        let error = failed(playground.train(&["--config", "tiny.toml", "--out", "other"]));
        assert!(error.contains("it is a symbolic link, not a regular file"), "{error}");
        fs::remove_file(&path).unwrap();
        succeeded(playground.train(&["--config", "tiny.toml", "--out", "other"]));
        fs::remove_dir_all(playground.path("other")).unwrap();
    }
    assert_eq!(read(playground.path("victim")), b"years of work");
}

#[test]
fn files_of_the_users_outlive_what_tidies_up() {
    let playground = Playground::new();
    succeeded(playground.train(&RUN));
    let theirs = [
        "run/.tmp-notes",
        "run/.old-model",
        "run/checkpoints/.tmp-x",
        "run/checkpoints/step-4",
        "run/checkpoints/damaged-step-00000006",
        "run/samples/step-notes.txt",
        "run/samples/.old-y",
        "cache/tokens/.tmp-notes",
        "cache/tokens/.old-y",
    ];
    for name in theirs {
        fs::write(playground.path(name), name).unwrap();
    }
    // The tokens are made again, in a folder that is put in order first.
    fs::remove_file(token_file(&playground)).unwrap();
    // What a killed process leaves goes.
    let left = playground.path("run/.bitnet-0123456789abcdef.tmp");
    fs::create_dir(&left).unwrap();
    // A checkpoint that is damaged does not take the name of another one.
    fs::write(playground.path("run/checkpoints/step-00000006/model.mpk"), "no model").unwrap();
    succeeded(playground.train(&["--resume", "run", "--set", "checkpoint.keep=1"]));
    for name in theirs {
        assert_eq!(read(playground.path(name)), name.as_bytes(), "{name}");
    }
    assert!(!left.exists());
    assert!(playground.path("run/checkpoints/damaged-step-00000006-2/model.mpk").is_file());
}

#[test]
fn only_runs_are_resumed() {
    let playground = Playground::new();
    succeeded(playground.train(&RUN));
    let checkpoint = "run/checkpoints/step-00000006";
    fs::create_dir(playground.path("empty")).unwrap();
    fs::create_dir(playground.path("mine")).unwrap();
    fs::write(playground.path("mine/thesis.txt"), "years of work").unwrap();
    fs::create_dir(playground.path("configs")).unwrap();
    fs::copy(playground.path("tiny.toml"), playground.path("configs/config.toml")).unwrap();
    let before = snapshot(&playground.path("."));
    for (folder, says) in [
        (checkpoint, "run/checkpoints/step-00000006 is a checkpoint; name its run, run"),
        ("empty", "empty is no run folder"),
        ("mine", "mine is no run folder"),
        ("missing", "missing is no run folder"),
        ("configs", "configs is no run folder: it has a config.toml, but no run has begun there"),
        ("tiny.toml", "tiny.toml is no run folder"),
    ] {
        for config in [&["--config", "tiny.toml"][..], &[]] {
            let error = failed(playground.train(&[&["--resume", folder], config].concat()));
            assert!(error.contains(says), "{folder}: {error}");
        }
    }
    assert!(snapshot(&playground.path(".")) == before);
}

#[test]
fn odd_inputs_are_told_in_one_line_at_once() {
    let playground = Playground::new();
    succeeded(playground.train(&RUN));
    pipe(&playground.path("pipe"));
    fs::create_dir(playground.path("odd-model")).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(playground.path("run/model").join(name), playground.path("odd-model").join(name))
            .unwrap();
    }
    let says = |args: &[&str], what: &str| {
        let error = failed(at_once(&playground, args));
        assert!(error.contains(what), "{args:?}: {error}");
    };
    let start = ["--config", "tiny.toml", "--out", "new"];
    let with = |more: &[&'static str]| [&start[..], more].concat();
    // The null device is read alone: a device that gives no end is one as well.
    for (odd, what) in [
        ("pipe", "it is a pipe, not a regular file"),
        ("/dev/null", "it is a device, not a regular file"),
        ("/dev/zero", "it is a device, not a regular file"),
    ] {
        says(&["--config", odd, "--out", "new"], what);
        says(&with(&["--data", odd]), what);
        says(&with(&["--set", &*format!("data.tokenizer={odd}").leak()]), what);
        says(&["tokenizer", "--vocab", "300", "--out", "new.json", "--data", odd], what);
    }
    says(&["--config", "run", "--out", "new"], "it is a folder, not a regular file");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let path = playground.path("odd-model").join(name);
        fs::rename(&path, playground.path("kept")).unwrap();
        pipe(&path);
        says(&with(&["--init-from", "odd-model"]), "it is a pipe, not a regular file");
        says(&with(&["--set", "distill.teacher=odd-model"]), "it is a pipe, not a regular file");
        fs::remove_file(&path).unwrap();
        fs::rename(playground.path("kept"), &path).unwrap();
    }
    for name in ["metrics.csv", "instruments.csv", "config.toml", "samples/step-00000004.txt"] {
        let path = playground.path("run").join(name);
        fs::rename(&path, playground.path("kept")).unwrap();
        pipe(&path);
        says(&["report", "run"], "it is a pipe, not a regular file");
        fs::remove_file(&path).unwrap();
        fs::rename(playground.path("kept"), &path).unwrap();
    }
    // A cached dataset, which nobody may fetch.
    fs::create_dir(playground.path("datasets")).unwrap();
    pipe(&playground.path("datasets/enwik8"));
    let set = ["--set", "data.datasets=datasets", "--set", "data.offline=true"];
    let output = at_once(&playground, &[&with(&["--data", "enwik8"])[..], &set].concat());
    assert!(failed(output).contains("it is a pipe, not a regular file"));
    // A link to a regular file is one.
    symlink("tiny.toml", playground.path("link.toml")).unwrap();
    symlink("text.txt", playground.path("link.txt")).unwrap();
    let links = ["--config", "link.toml", "--data", "link.txt", "--out", "new", "--stop-at", "1"];
    succeeded(playground.train(&links));
}

/// A run whose tokens are damaged under way, as soon as it has a checkpoint.
#[cfg(target_os = "linux")]
fn damaged_under_way(playground: &Playground, damage: fn(&Path)) -> String {
    let set = ["train.steps=1000000", "eval.every=1000000", "checkpoint.every=10"];
    let set = set.iter().flat_map(|pair| ["--set", *pair]);
    let args: Vec<_> = ["--config", "tiny.toml", "--out", "run"].into_iter().chain(set).collect();
    let mut command = playground.command(&args);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !playground.path("run/model").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        sleep(Duration::from_millis(5));
    }
    damage(&token_file(playground));
    let error = failed(child.wait_with_output().unwrap());
    // What was saved is whole, and the tokens are made again.
    let stop = ["--resume", "run", "--stop-at", "1"];
    let shown = succeeded(playground.train(&stop));
    assert!(shown.contains("continuing after step "), "{shown}");
    error
}

#[test]
fn what_was_added_to_models_and_checkpoints_is_kept() {
    let playground = Playground::new();
    let keep = ["--set", "checkpoint.every=2", "--set", "checkpoint.keep=1"];
    let start = ["--config", "tiny.toml", "--out", "run", "--stop-at", "2"];
    succeeded(playground.train(&[&start[..], &keep].concat()));
    let mine = ["model/tokenizer_config.json", "checkpoints/step-00000002/mine"];
    mine.iter().for_each(|name| fs::write(playground.path("run").join(name), "mine").unwrap());
    let output = playground.train(&["--resume", "run"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    succeeded(output);
    assert!(said.contains("had other files than the model's: it is "), "{said}");
    for name in ["kept-model/tokenizer_config.json", mine[1]] {
        let text = fs::read_to_string(playground.path("run").join(name)).unwrap();
        assert_eq!(text, "mine", "{name}");
    }
    assert!(!playground.path("run/model/tokenizer_config.json").exists());
}

#[test]
fn files_that_a_pattern_names_are_inputs() {
    let playground = Playground::new();
    fs::create_dir(playground.path("mine")).unwrap();
    fs::copy(playground.path("text.txt"), playground.path("mine/thesis.txt")).unwrap();
    let before = fs::read(playground.path("mine/thesis.txt")).unwrap();
    let args = [
        "tokenizer",
        "--vocab",
        "260",
        "--data",
        "mine/*.txt",
        "--out",
        "mine/thesis.txt",
        "--force",
    ];
    let error = failed(playground.train(&args));
    assert!(error.contains("it is, or holds, the input"), "{error}");
    assert_eq!(fs::read(playground.path("mine/thesis.txt")).unwrap(), before);
}

#[test]
#[cfg(target_os = "linux")]
fn tokens_that_are_cut_short_under_way_are_one_line() {
    let error = damaged_under_way(&Playground::new(), |path| {
        fs::File::options().write(true).open(path).unwrap().set_len(0).unwrap();
    });
    assert!(error.contains("a file in use was cut short by another program"), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn tokens_that_change_under_way_are_one_line() {
    use std::io::{Seek, SeekFrom, Write};

    let error = damaged_under_way(&Playground::new(), |path| {
        let mut file = fs::File::options().write(true).open(path).unwrap();
        let bytes = file.metadata().unwrap().len() - 64;
        file.seek(SeekFrom::Start(64)).unwrap();
        file.write_all(&vec![0xff; bytes as usize]).unwrap();
    });
    assert!(error.contains("has changed while it was in use"), "{error}");
    assert!(error.contains("is whole: continue with --resume run"), "{error}");
}
