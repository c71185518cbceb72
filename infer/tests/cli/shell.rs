//! What shells, manuals and terminals are told.

use std::process::Command;

use bitnet::backend::BackendKind;

#[track_caller]
fn succeeded(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_infer")).args(args).output().expect("a process");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_version_says_commit_and_backends() {
    for flag in ["--version", "-V"] {
        let version = succeeded(&[flag]);
        let backends: Vec<&str> = BackendKind::compiled_in().map(BackendKind::name).collect();
        let start = concat!("infer ", env!("CARGO_PKG_VERSION"), " (");
        assert!(version.starts_with(start), "{version}");
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
        for args in [&["--help"][..], &["generate", "--help"], &["generate", "-h"]] {
            let output = Command::new(env!("CARGO_BIN_EXE_infer"))
                .args(args)
                .env("COLUMNS", columns)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            let columns = columns.parse().unwrap();
            assert!(widest <= columns && widest > columns - 15, "{widest}: {text}");
        }
    }
}

#[test]
fn completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = succeeded(&["completions", shell]);
        assert!(script.contains("infer") && script.contains("generate"), "{shell}: {script}");
    }
    let page = succeeded(&["man"]);
    assert!(page.contains(".TH infer 1") && page.contains("infer\\-generate(1)"), "{page}");
    let page = succeeded(&["man", "generate"]);
    assert!(page.contains(".TH infer-generate 1") && page.contains("\\-\\-help"), "{page}");
    let output = Command::new(env!("CARGO_BIN_EXE_infer")).args(["man", "x"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.starts_with("error: no command \"x\" (known: "), "{error}");
}
