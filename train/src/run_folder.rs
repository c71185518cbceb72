//! The folder of a run:
//!
//! ```text
//! lock                      held by the process that writes here
//! config.toml               the resolved configuration
//! metrics.csv               a row for each log line
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
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use bitnet::storage;
use serde::de::DeserializeOwned;

use crate::config::{self, Config, Overrides};

const LOCK: &str = "lock";
const CONFIG: &str = "config.toml";
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
    /// Creates the folder of a new run. One that holds anything is refused.
    ///
    /// # Errors
    /// If it holds something, is in use, or cannot be written.
    pub fn create(path: &Path, config: &Config) -> anyhow::Result<Self> {
        let cannot_create = || format!("cannot create {}", path.display());
        check_empty(path)?;
        fs::create_dir_all(path).with_context(cannot_create)?;
        let folder = Self::lock(path)?;
        // Another process may have been faster.
        check_empty(path)?;
        storage::recover(path).with_context(cannot_create)?;
        folder.save_config(config)?;
        fs::create_dir_all(folder.checkpoints()).with_context(cannot_create)?;
        Ok(folder)
    }

    /// Opens the folder of an earlier run, and puts in order what a killed process left there.
    ///
    /// # Errors
    /// If it is in use, or cannot be written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let folder = Self::lock(path)?;
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
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(file)
            .with_context(cannot_lock)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                let holder = holder.trim();
                bail!("{} is in use by another process ({holder})", path.display());
            }
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                let path = path.display();
                note!("warning: {path} cannot be locked here; start no second run in it");
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(cannot_lock),
        }
        // For people only; on a full disk the lock holds without it.
        let _ = lock.set_len(0).and_then(|()| write!(lock, "process {}", process::id()));
        Ok(Self { path: path.into(), _lock: Arc::new(lock) })
    }

    /// The configuration that the run in `path` was started or last resumed with.
    ///
    /// # Errors
    /// If it is no run folder, or the file cannot be read.
    pub fn read_config(path: &Path) -> anyhow::Result<Config> {
        let config = path.join(CONFIG);
        ensure!(config.is_file(), "{} is no run folder: it has no {CONFIG}", path.display());
        config::load(&config, &Overrides::default())
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
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
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
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where checkpoints are.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
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
        let last = sample_name(step);
        let cannot_remove = || format!("cannot remove samples in {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(cannot_remove)? {
            let entry = entry.with_context(cannot_remove)?;
            let name = entry.file_name();
            // The numbers have leading zeros: names are in the order of the steps.
            let is_sample = name.to_str().is_some_and(|name| name.starts_with("step-"));
            if is_sample && name.to_string_lossy().as_ref() > last.as_str() {
                fs::remove_file(entry.path()).with_context(cannot_remove)?;
            }
        }
        Ok(())
    }
}

fn sample_name(step: u64) -> String {
    format!("step-{step:08}.txt")
}

/// A folder counts as empty if it holds no more than a start that was killed at once leaves.
fn check_empty(path: &Path) -> anyhow::Result<()> {
    let is_remnant = |name: &str| name == LOCK || name.starts_with(storage::TEMPORARY);
    let occupied = match fs::read_dir(path) {
        Ok(entries) => {
            entries.flatten().any(|entry| !is_remnant(entry.file_name().to_string_lossy().as_ref()))
        }
        Err(_) => path.exists(),
    };
    ensure!(
        !occupied,
        "{0} exists and is not empty; continue it with --resume {0}, or choose another --out",
        path.display()
    );
    Ok(())
}
