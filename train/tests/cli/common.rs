//! Runs the program on a model so small that a run takes a second.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A folder with a small text and a small configuration.
pub struct Playground {
    root: tempfile::TempDir,
}

impl Playground {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let text = "The quick brown fox jumps over the lazy dog. ".repeat(60);
        fs::write(root.path().join("text.txt"), text).unwrap();
        let playground = Self { root };
        let text = playground.path("text.txt");
        fs::write(
            playground.path("tiny.toml"),
            format!(
                r#"
                seed = 3
                [model]
                dim = 16
                depth = 1
                heads = 2
                context = 16
                ff_dim = 32
                [data]
                sources = [{text:?}]
                [train]
                steps = 12
                batch = 4
                lr = 1e-2
                warmup = 2
                log_every = 2
                [eval]
                every = 4
                [checkpoint]
                every = 4
                keep = 5
                [sample]
                prompt = "The"
                tokens = 8
                "#
            ),
        )
        .unwrap();
        playground
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Runs the program in this folder.
    pub fn train(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
        command.args(args).current_dir(self.root.path());
        command
    }
}

/// Standard output of a run that went well.
#[track_caller]
pub fn succeeded(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of a run that failed: exit code 1, and neither panic nor backtrace.
#[track_caller]
pub fn failed(output: Output) -> String {
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.starts_with("error: ") && !errors.contains("panicked"), "{errors}");
    errors
}

/// Bytes of a file.
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}
