//! Standard output and standard error that take nothing.

use std::{
    fs::File,
    io::Read,
    process::{Command, Output, Stdio},
};

use crate::common::Folder;

/// Every way to print something.
fn commands(folder: &Folder) -> Vec<Vec<String>> {
    let model = folder.arg("model");
    let data = folder.write("text.txt", "a text of more than two tokens");
    let commands: [&[&str]; 6] = [
        &["generate", "--model", &model, "--prompt", "a", "--tokens", "100000"],
        &["info", "--model", &model],
        &["info", "--model", &model, "--json"],
        &["eval", "--model", &model, "--data", &data],
        &["--help"],
        &["--version"],
    ];
    commands.iter().map(|args| args.iter().map(ToString::to_string).collect()).collect()
}

/// Runs the binary; its reader takes `bytes` of its output and goes.
fn read_a_part(args: &[String], bytes: usize) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_infer"))
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut vec![0; bytes]).expect("some output");
    drop(stdout);
    child.wait_with_output().expect("an exit status")
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = Folder::new();
    for args in commands(&folder) {
        let output = read_a_part(&args, 0);
        assert_eq!(output.status.code(), Some(0), "{args:?} {output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    }
    let output = read_a_part(&commands(&folder)[0], 10);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stderr, b"", "the generation was not cut short");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let folder = Folder::new();
    for args in commands(&folder) {
        let output = Command::new(env!("CARGO_BIN_EXE_infer"))
            .args(&args)
            .stdout(File::options().write(true).open("/dev/full").unwrap())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?} {stderr}");
        assert!(stderr.starts_with("error: cannot write to standard output: No space"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

/// The text is what matters; a reader of messages that is gone does not make it fail.
#[cfg(target_os = "linux")]
#[test]
fn messages_may_be_lost() {
    let folder = Folder::new();
    let run = |args: &[&str]| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_infer"));
        command.args(args).stderr(full).output().unwrap()
    };
    let model = folder.arg("model");
    let output = run(&["generate", "--model", &model, "--prompt", "a", "--tokens", "2"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(run(&["info", "--model", "missing"]).status.code(), Some(1));
}
