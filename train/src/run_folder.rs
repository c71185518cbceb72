//! The folder of a run:
//!
//! ```text
//! lock                      held by the process that writes here
//! config.toml               the resolved configuration
//! metrics.csv               a row for each log line and each validation
//! instruments.csv           a row for each quantised linear and log line
//! events.out.tfevents.*     the same for TensorBoard, a file for each session
//! samples/step-00000250.txt the samples generated
//! checkpoints/step-00000250 what a resumed run needs
//! best/                     the model of the lowest validation loss, as `infer` reads it
//! model/                    the newest model
//! ema/                      the moving average of its weights, if asked for
//! result.json               how the run ended
//! ```

use std::{
    fs::{self, DirEntry, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use bitnet::storage::{self, Kind, open_own, read_own};
use serde::de::DeserializeOwned;

use crate::config::{self, Config};

const LOCK: &str = "lock";
const CONFIG: &str = "config.toml";
/// What the lock says before the number of the process.
const HOLDER: &str = "process ";
const CHECKPOINTS: &str = "checkpoints";
/// What a checkpoint has and a run has not.
const CHECKPOINT: [&str; 2] = ["state.toml", "manifest.json"];
/// What says that a run has begun: one of these.
const EVIDENCE: [&str; 3] = [LOCK, CHECKPOINTS, METRICS];
/// How the run ended.
pub const RESULT: &str = "result.json";
/// The table of metrics.
pub const METRICS: &str = "metrics.csv";
/// The table of instruments.
pub const INSTRUMENTS: &str = "instruments.csv";
/// The texts generated.
pub const SAMPLES: &str = "samples";

/// A run's folder, locked against a second process for as long as this lives.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Arc<File>,
}

impl RunFolder {
    /// Creates the folder of a new run. One that holds anything is refused, and so is what is no
    /// folder.
    ///
    /// # Errors
    /// If it holds something, is in use, or cannot be written.
    pub fn create(path: &Path, config: &Config) -> anyhow::Result<Self> {
        let cannot_create = || format!("cannot create {}", path.display());
        Self::check_new(path)?;
        fs::create_dir_all(path).with_context(cannot_create)?;
        let folder = Self::lock(path)?;
        // Another process may have been faster.
        Self::check_new(path)?;
        storage::recover(path).with_context(cannot_create)?;
        folder.save_config(config)?;
        fs::create_dir_all(folder.checkpoints()).with_context(cannot_create)?;
        Ok(folder)
    }

    /// Checks that a new run can begin in `path`: where nothing is, or a folder that holds no more than
    /// a start that was killed at once leaves.
    ///
    /// # Errors
    /// If something else is there.
    pub fn check_new(path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => match Kind::at(path) {
                // What keeps it from being made is said then.
                Ok(None) | Err(_) => return Ok(()),
                Ok(Some(other)) if other != Kind::Folder => {
                    bail!("{shown} exists and is {other}; choose another --out")
                }
                _ => return Err(error).with_context(|| format!("cannot read {shown}")),
            },
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {shown}"))?;
            if is_remnant(&entry) {
                continue;
            }
            if check_run(path).is_ok() {
                bail!(
                    "{shown} exists and is not empty; continue it with --resume {shown}, or choose \
                     another --out"
                );
            }
            bail!("{shown} exists and is not empty, and holds no run; choose another --out");
        }
        Ok(())
    }

    /// Opens the folder of an earlier run, and puts in order what a killed process left there.
    ///
    /// # Errors
    /// If no run is there, if it is in use, or if it cannot be written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        check_run(path)?;
        let folder = Self::lock(path)?;
        // Replaced as a whole when there is a new one: better refused now than then.
        for inner in [folder.model(), folder.best(), folder.ema()] {
            let kind =
                Kind::at(&inner).with_context(|| format!("cannot use {}", inner.display()))?;
            if let Some(other) = kind.filter(|&kind| kind != Kind::Folder) {
                bail!("{} is {other}, not a folder", inner.display());
            }
        }
        for inner in [path.into(), folder.checkpoints(), folder.samples()] {
            storage::recover(&inner)
                .with_context(|| format!("cannot put {} in order", inner.display()))?;
        }
        let checkpoints = folder.checkpoints();
        fs::create_dir_all(&checkpoints)
            .with_context(|| format!("cannot create {}", checkpoints.display()))?;
        Ok(folder)
    }

    /// Takes the lock, which the system releases however the process ends.
    fn lock(path: &Path) -> anyhow::Result<Self> {
        let file = path.join(LOCK);
        let cannot_lock = || format!("cannot lock {}", path.display());
        let options =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).clone();
        let mut lock = open_own(&file, &options).with_context(cannot_lock)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                let holder = holder.trim();
                bail!("{} is in use by another process ({holder})", path.display());
            }
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {
                let path = path.display();
                note!("warning: {path} cannot be locked here; start no second run in it");
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot_lock),
        }
        // For people only; on a full disk the lock holds without it.
        let _ = lock.set_len(0).and_then(|()| write!(lock, "{HOLDER}{}", process::id()));
        Ok(Self { path: path.into(), _lock: Arc::new(lock) })
    }

    /// The configuration that the run in `path` was started or last resumed with.
    ///
    /// # Errors
    /// If it is no run folder, or the file cannot be read.
    pub fn read_config(path: &Path) -> anyhow::Result<Config> {
        check_run(path)?;
        let path = path.join(CONFIG);
        let text = read_own(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8(text).with_context(|| path.display().to_string())?;
        config::from_toml(&text).with_context(|| path.display().to_string())
    }

    /// Whether a run was begun in `path`, if only a moment before it was killed.
    pub fn is_begun(path: &Path) -> bool {
        EVIDENCE.iter().any(|name| path.join(name).exists())
    }

    /// Whether a run was started in `path`.
    pub fn has_config(path: &Path) -> bool {
        path.join(CONFIG).is_file()
    }

    /// Replaces the configuration.
    ///
    /// # Errors
    /// If it cannot be written; the old one then remains.
    pub fn save_config(&self, config: &Config) -> anyhow::Result<()> {
        let path = self.path.join(CONFIG);
        storage::write_file(&path, config::to_toml(config)?.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether the run has ended, with its result written down.
    pub fn has_ended(&self) -> bool {
        self.path.join(RESULT).is_file()
    }

    /// How the run ended, as it was written down.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read_result<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let path = self.path.join(RESULT);
        let bytes = read_own(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Writes down how the run ended.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_result(&self, json: &[u8]) -> anyhow::Result<()> {
        let path = self.path.join(RESULT);
        storage::write_file(&path, json).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Makes a run that goes on again one that has not ended.
    ///
    /// # Errors
    /// If the result cannot be removed.
    pub fn remove_result(&self) -> anyhow::Result<()> {
        let path = self.path.join(RESULT);
        match open_own(&path, OpenOptions::new().read(true)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            file => file
                .and_then(|_| fs::remove_file(&path))
                .with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// Where the model is.
    pub fn model(&self) -> PathBuf {
        self.path.join("model")
    }

    /// Where the model of the lowest validation loss is.
    pub fn best(&self) -> PathBuf {
        self.path.join("best")
    }

    /// Where the moving average is.
    pub fn ema(&self) -> PathBuf {
        self.path.join("ema")
    }

    fn samples(&self) -> PathBuf {
        self.path.join(SAMPLES)
    }

    /// The table of metrics.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// The table of instruments.
    pub fn instruments(&self) -> PathBuf {
        self.path.join(INSTRUMENTS)
    }

    /// Writes the text generated at a step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_sample(&self, step: u64, text: &str) -> anyhow::Result<()> {
        let folder = self.samples();
        let path = folder.join(sample_name(step));
        fs::create_dir_all(&folder)
            .and_then(|()| storage::write_file(&path, text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes the samples of steps after `step`, which a killed process left behind.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn remove_samples_after(&self, step: u64) -> anyhow::Result<()> {
        let folder = self.samples();
        if !folder.exists() {
            return Ok(());
        }
        let cannot_remove = || format!("cannot remove samples in {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(cannot_remove)? {
            let entry = entry.with_context(cannot_remove)?;
            let name = entry.file_name();
            let number = name.to_str().and_then(sample_step);
            if number.is_some_and(|number| number > step) {
                fs::remove_file(entry.path()).with_context(cannot_remove)?;
            }
        }
        Ok(())
    }
}

fn sample_name(step: u64) -> String {
    format!("step-{step:08}.txt")
}

/// The step of a sample's name; `None` for any other name.
fn sample_step(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.strip_suffix(".txt")?.parse().ok()?;
    (name == sample_name(step)).then_some(step)
}

/// Whether a run that had not begun has left it.
fn is_remnant(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let is_lock = || {
        let text = read_own(&entry.path()).unwrap_or_else(|_| b"unreadable".into());
        text.is_empty() || text.starts_with(HOLDER.as_bytes())
    };
    storage::is_unfinished(&name) || name == LOCK && is_lock()
}

/// Checks that a run was started in `path`.
fn check_run(path: &Path) -> anyhow::Result<()> {
    let has = |name: &str| path.join(name).exists();
    let shown = path.display();
    if CHECKPOINT.iter().all(|name| has(name)) {
        let run = path.parent().and_then(Path::parent).filter(|run| !run.as_os_str().is_empty());
        let run = run.unwrap_or(Path::new(".")).display();
        bail!("{shown} is a checkpoint; name its run, {run}");
    }
    ensure!(has(CONFIG), "{shown} is no run folder: it has no {CONFIG}");
    ensure!(
        RunFolder::is_begun(path),
        "{shown} is no run folder: it has a {CONFIG}, but no run has begun there"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_later_steps_go_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        let folder = RunFolder::create(&path, &Config::default()).unwrap();
        [1, 2, 3].iter().for_each(|&step| folder.save_sample(step, "text").unwrap());
        let theirs = ["step-notes.txt", "step-3.txt", "step-00000003.txt.bak", "zebra.txt"];
        theirs.iter().for_each(|name| fs::write(path.join(SAMPLES).join(name), "mine").unwrap());
        folder.remove_samples_after(1).unwrap();
        let entries = fs::read_dir(path.join(SAMPLES)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let mut expected = [&theirs[..], &["step-00000001.txt"]].concat();
        expected.sort();
        assert_eq!(names, expected);
    }

    #[test]
    fn only_what_a_killed_start_leaves_counts_as_empty() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        fs::write(path.join(LOCK), "process 12").unwrap();
        fs::write(path.join(".bitnet-0123456789abcdef.tmp"), "half").unwrap();
        assert!(RunFolder::check_new(path).is_ok());
        for theirs in [".tmp-notes", "notes"] {
            fs::write(path.join(theirs), "mine").unwrap();
            assert!(RunFolder::check_new(path).is_err(), "{theirs}");
            fs::remove_file(path.join(theirs)).unwrap();
        }
        fs::write(path.join(LOCK), "the combination of my locker").unwrap();
        assert!(RunFolder::check_new(path).is_err());
    }
}
