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

mod names;
mod place;
mod start;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use anyhow::{Context, bail};
use bitnet::storage::{self, create_own_folder, has_own_folder, open_own, read_own};
use serde::de::DeserializeOwned;

use crate::config::{self, Config};

pub use names::{EVENTS, INSTRUMENTS, METRICS, RESULT, SAMPLES};
pub use place::{check_new, check_outside, has_config, is_begun};
pub use start::Start;

use names::{CHECKPOINTS, CONFIG, LOCK};
use place::{HOLDER, check_run};

/// A run's folder, locked against a second process for as long as this lives.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    _lock: Arc<File>,
}

impl RunFolder {
    /// Creates the folder of a new run, which is removed again unless the [`Start`] is told that the
    /// run goes on. One that holds anything is refused, and so is what is no folder.
    ///
    /// # Errors
    /// If it holds something, is in use, or cannot be written.
    pub fn create(path: &Path, config: &Config) -> anyhow::Result<(Self, Start)> {
        let cannot_create = || format!("cannot create {}", path.display());
        check_new(path)?;
        let mut start = Start::at(path);
        fs::create_dir_all(path).with_context(cannot_create)?;
        let folder = Self::lock(path)?;
        // Another process may have been faster.
        check_new(path)?;
        start.owns(path);
        storage::recover(path).with_context(cannot_create)?;
        folder.save_config(config)?;
        create_own_folder(&folder.checkpoints()).with_context(cannot_create)?;
        Ok((folder, start))
    }

    /// Opens the folder of an earlier run, and puts in order what a killed process left there.
    ///
    /// # Errors
    /// If no run is there, if it is in use, or if it cannot be written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        check_run(path)?;
        let folder = Self::lock(path)?;
        // Before anything is written: what is no folder is refused now rather than at a checkpoint.
        let (checkpoints, samples) = (folder.checkpoints(), folder.samples());
        for inner in [&folder.model(), &folder.best(), &folder.ema(), &checkpoints, &samples] {
            has_own_folder(inner).with_context(|| format!("cannot use {}", inner.display()))?;
        }
        for inner in [path, &checkpoints, &samples] {
            storage::recover(inner)
                .with_context(|| format!("cannot put {} in order", inner.display()))?;
        }
        create_own_folder(&checkpoints)
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
        create_own_folder(&folder)
            .and_then(|()| storage::write_file(&path, text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes the samples of steps after `step`, which a killed process left behind.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn remove_samples_after(&self, step: u64) -> anyhow::Result<()> {
        let folder = self.samples();
        let cannot_remove = || format!("cannot remove samples in {}", folder.display());
        if !has_own_folder(&folder).with_context(cannot_remove)? {
            return Ok(());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_later_steps_go_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        let (folder, _start) = RunFolder::create(&path, &Config::default()).unwrap();
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
}
