//! What shells, manuals and terminals are told. The tests of both programs go through it, each with
//! its [`Program`].

use std::process::{Command, Output};

use bitnet::backend::BackendKind;

use crate::PROGRAM;

/// A program that is tested.
pub(crate) struct Program {
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    /// One of its commands.
    pub(crate) command: &'static str,
}

fn run(args: &[&str], columns: &str) -> Output {
    let mut program = Command::new(PROGRAM.path);
    program.args(args).env("COLUMNS", columns).output().expect("a process")
}

#[track_caller]
fn succeeded(args: &[&str]) -> String {
    let output = run(args, "80");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_version_says_commit_and_backends() {
    for flag in ["--version", "-V"] {
        let version = succeeded(&[flag]);
        let backends: Vec<&str> = BackendKind::compiled_in().map(BackendKind::name).collect();
        let start = format!("{} {} (", PROGRAM.name, env!("CARGO_PKG_VERSION"));
        assert!(version.starts_with(&start), "{version}");
        assert!(version.ends_with(&format!("backends {})\n", backends.join(" "))), "{version}");
        // Sources of an archive have no commit.
        let Some((_, commit)) = version.split_once("commit ") else { continue };
        let (commit, _) = commit.split_once(',').unwrap();
        assert!(commit.len() == 12 && commit.bytes().all(|c| c.is_ascii_hexdigit()), "{version}");
    }
}

#[test]
fn help_is_as_wide_as_the_terminal() {
    for columns in ["60", "90"] {
        let command = PROGRAM.command;
        for args in [&["--help"][..], &[command, "--help"], &[command, "-h"]] {
            let text = String::from_utf8(run(args, columns).stdout).unwrap();
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            let columns = columns.parse().unwrap();
            assert!(widest <= columns && widest > columns - 15, "{widest}: {text}");
        }
    }
}

#[test]
fn completions_and_manual_pages() {
    let Program { name, command, .. } = PROGRAM;
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = succeeded(&["completions", shell]);
        assert!(script.contains(name) && script.contains(command), "{shell}: {script}");
    }
    let page = succeeded(&["man"]);
    let reference = format!("{name}-{command}(1)").replace('-', "\\-");
    assert!(page.contains(&format!(".TH {name} 1")) && page.contains(&reference), "{page}");
    let page = succeeded(&["man", command]);
    let title = format!(".TH {name}-{command} 1");
    assert!(page.contains(&title) && page.contains("\\-\\-help"), "{page}");
    let output = run(&["man", "x"], "80");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.starts_with("error: no command \"x\" (known: "), "{error}");
}
