//! Inputs that are no regular files, and files that change while they are in use.

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::common::Folder;

/// Starts the program.
fn start(folder: &Folder, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_infer"))
        .args(args)
        .env("BITNET_CACHE", folder.path("cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process")
}

/// What it gives; it must not wait for anything for long.
fn end(mut child: Child) -> Output {
    let started = Instant::now();
    while child.try_wait().expect("a process").is_none() {
        if started.elapsed() > Duration::from_secs(120) {
            child.kill().expect("a process");
            panic!("it waits");
        }
        sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output")
}

#[track_caller]
fn assert_fails(output: Output, part: &str) {
    let errors = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{:?}: {errors}", output.status);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("error: ") && errors.contains(part), "{errors}");
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

#[test]
fn pipes_and_devices_are_told_at_once() {
    let folder = Folder::new();
    let (model, out) = (folder.arg("model"), folder.arg("packed"));
    folder.run("export", &["--format", "packed", "--out", &out]).stdout();
    let generate =
        |model: &str| end(start(&folder, &["generate", "--model", model, "--prompt", "a"]));
    let no_pipe = "it is a pipe, not a regular file";
    let files = [
        ("model", &["config.json", "model.safetensors", "tokenizer.json"][..]),
        ("packed", &["config.json", "model.packed", "tokenizer.json"]),
    ];
    for (name, path) in files.iter().flat_map(|(within, names)| {
        names.iter().map(|name| (*within, folder.path(within).join(name)))
    }) {
        let kept = folder.path("kept");
        fs::rename(&path, &kept).expect("a renamed file");
        pipe(&path);
        let args = ["generate", "--prompt", "a", "--model", &folder.arg(name)];
        assert_fails(end(start(&folder, &args)), no_pipe);
        fs::remove_file(&path).expect("no pipe");
        // A link to a regular file is one.
        std::os::unix::fs::symlink(&kept, &path).expect("a link");
        assert!(end(start(&folder, &args)).status.success());
        fs::remove_file(&path).expect("no link");
        fs::rename(&kept, &path).expect("a renamed file");
    }
    for name in ["generation_config.json", "tokenizer_config.json", "chat_template.jinja"] {
        let path = folder.path("model").join(name);
        pipe(&path);
        let args = ["generate", "--prompt", "a", "--model", &model];
        assert_fails(end(start(&folder, &args)), no_pipe);
        fs::remove_file(&path).expect("no pipe");
    }
    let path = folder.path("model.gguf");
    pipe(&path);
    assert_fails(generate(&folder.arg("model.gguf")), no_pipe);
    pipe(&folder.path("text.txt"));
    for (data, part) in [
        (folder.arg("text.txt"), no_pipe),
        ("/dev/zero".into(), "it is a device, not a regular file"),
    ] {
        let args = ["eval", "--model", &model, "--data", &data];
        assert_fails(end(start(&folder, &args)), part);
    }
}

/// Waits until the process has mapped a file whose path ends so, and returns it.
#[cfg(target_os = "linux")]
fn mapped(child: &mut Child, suffix: &str) -> PathBuf {
    loop {
        assert!(child.try_wait().expect("a process").is_none(), "it ended by itself");
        let maps = fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap_or_default();
        let found = maps.lines().find(|line| line.ends_with(suffix));
        if let Some(at) = found.and_then(|line| line.find('/').map(|at| &line[at..])) {
            return at.into();
        }
        sleep(Duration::from_millis(1));
    }
}

/// An evaluation that takes a while, of a packed model.
#[cfg(target_os = "linux")]
fn long_run(folder: &Folder) -> Child {
    let (out, text) = (folder.arg("packed"), "the quick brown fox ".repeat(100_000));
    let data = folder.write("long.txt", text);
    folder.run("export", &["--format", "packed", "--out", &out]).stdout();
    start(folder, &["eval", "--model", &out, "--data", &data, "--stride", "1"])
}

#[test]
#[cfg(target_os = "linux")]
fn files_that_are_cut_short_under_way_are_one_line() {
    for suffix in ["model.packed", ".tokens"] {
        let folder = Folder::new();
        let mut child = long_run(&folder);
        // The tokens are mapped last.
        mapped(&mut child, ".tokens");
        let path = mapped(&mut child, suffix);
        sleep(Duration::from_millis(200));
        File::options().write(true).open(path).and_then(|file| file.set_len(0)).expect("a file");
        assert_fails(end(child), "a file in use was cut short by another program");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn tokens_that_change_under_way_are_one_line() {
    let folder = Folder::new();
    let text = "the quick brown fox ".repeat(2_000);
    let data = folder.write("text.txt", text);
    let args = ["eval", "--model", &folder.arg("model"), "--data", &data, "--stride", "1"];
    let mut child = start(&folder, &args);
    let path = mapped(&mut child, ".tokens");
    let mut file = File::options().write(true).open(path).expect("a file");
    file.seek(SeekFrom::Start(64)).expect("a place");
    file.write_all(&vec![0xff; 80_000]).expect("other tokens");
    assert_fails(end(child), "has changed while it was in use");
}
