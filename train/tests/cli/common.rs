//! Runs the program on a model so small that a run takes a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The weights of a finished run, in its folder.
pub const MODEL: &str = "model/model.safetensors";

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
        let (text, cache) = (playground.path("text.txt"), playground.path("cache"));
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
                cache = {cache:?}
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
                [log]
                ceiling = false
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

/// What a run leaves behind that does not depend on time: the model, the newest checkpoint's
/// records, the samples, and the metrics without the columns of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Remains {
    files: BTreeMap<String, Vec<u8>>,
    /// Step of the newest checkpoint.
    pub last_step: u64,
}

impl Remains {
    #[track_caller]
    pub fn of(run: &Path) -> Self {
        let names = |folder: &str| -> Vec<String> {
            let entries = fs::read_dir(run.join(folder)).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let steps = names("checkpoints");
        let last_step = steps.iter().filter_map(|name| name.strip_prefix("step-")?.parse().ok());
        let last_step = last_step.max().unwrap();
        let checkpoint = format!("checkpoints/step-{last_step:08}");
        let mut paths: Vec<String> = ["model.mpk", "optimizer.mpk", "config.toml", "codes.bin"]
            .map(|name| format!("{checkpoint}/{name}"))
            .into();
        let average = format!("{checkpoint}/ema.mpk");
        let mut folders = vec!["model", "best", "samples"];
        if run.join(&average).exists() {
            paths.push(average);
            folders.push("ema");
        }
        for folder in folders {
            paths.extend(names(folder).into_iter().map(|name| format!("{folder}/{name}")));
        }
        let mut files: BTreeMap<_, _> =
            paths.into_iter().map(|path| (path.clone(), read(run.join(path)))).collect();
        for (path, bytes) in &mut files {
            if path.ends_with("optimizer.mpk") {
                *bytes = sorted(bytes);
            }
        }
        let rows: Vec<String> = metrics(run).iter().map(|row| row.join(",")).collect();
        files.insert("metrics.csv".into(), rows.join("\n").into_bytes());
        let instruments = run.join("instruments.csv");
        if instruments.exists() {
            files.insert("instruments.csv".into(), read(instruments));
        }
        Self { files, last_step }
    }

    /// The files that are not the same.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.files.keys().chain(other.files.keys()).collect();
        let differ = |name: &&&String| self.files.get(**name) != other.files.get(**name);
        names.iter().filter(differ).map(|name| name.to_string()).collect()
    }

    #[track_caller]
    pub fn assert_equals(&self, expected: &Self, what: &str) {
        let differences = self.differences(expected);
        assert!(differences.is_empty(), "{what}: {differences:?} differ");
    }
}

/// The columns of a run's metrics that do not depend on time, row by row.
#[track_caller]
pub fn metrics(run: &Path) -> Vec<Vec<String>> {
    let text = String::from_utf8(read(run.join("metrics.csv"))).unwrap();
    let timed = ["seconds", "tokens_per_second", "model_flops_utilization", "resident_bytes"];
    let header: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let keep = |row: &str| {
        assert_eq!(row.split(',').count(), header.len(), "{row}");
        let columns = row.split(',').zip(&header).filter(|(_, name)| !timed.contains(name));
        columns.map(|(value, _)| value.to_owned()).collect()
    };
    text.lines().map(keep).collect()
}

/// A record with the keys of its maps in order: those of the optimiser, by parameter, are in no
/// fixed one.
fn sorted(record: &[u8]) -> Vec<u8> {
    fn sort(value: &mut rmpv::Value) {
        match value {
            rmpv::Value::Map(pairs) => {
                pairs.iter_mut().for_each(|(_, value)| sort(value));
                pairs.sort_by_key(|(key, _)| key.to_string());
            }
            rmpv::Value::Array(values) => values.iter_mut().for_each(sort),
            _ => {}
        }
    }
    let mut value = rmpv::decode::read_value(&mut &record[..]).unwrap();
    sort(&mut value);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &value).unwrap();
    bytes
}
