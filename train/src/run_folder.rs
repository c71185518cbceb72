//! The folder of a run:
//!
//! ```text
//! config.toml               the resolved configuration
//! metrics.csv               a row for each log line
//! samples/step-00000250.txt the samples generated
//! checkpoints/step-00000250 what a resumed run needs
//! model/                    the model, as `infer` reads it
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use bitnet::storage;

use crate::config::{self, Config, Overrides};

const CONFIG: &str = "config.toml";

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Creates the folder of a new run. One that holds anything is refused.
    ///
    /// # Errors
    /// If it holds something, or cannot be written.
    pub fn create(path: &Path, config: &Config) -> anyhow::Result<Self> {
        let occupied = match fs::read_dir(path) {
            Ok(mut entries) => entries.next().is_some(),
            Err(_) => path.exists(),
        };
        if occupied {
            bail!(
                "{0} exists and is not empty; continue it with --resume {0}, or choose another --out",
                path.display()
            );
        }
        let folder = Self { path: path.into() };
        fs::create_dir_all(folder.checkpoints())
            .with_context(|| format!("cannot create {}", path.display()))?;
        folder.save_config(config)?;
        Ok(folder)
    }

    /// Opens the folder of an earlier run.
    ///
    /// # Errors
    /// If it is not one.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let folder = Self { path: path.into() };
        let config = path.join(CONFIG);
        ensure!(config.is_file(), "{} is no run folder: it has no {CONFIG}", path.display());
        Ok(folder)
    }

    /// The configuration the run was started or last resumed with.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn config(&self) -> anyhow::Result<Config> {
        config::load(&self.path.join(CONFIG), &Overrides::default())
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

    /// The table of metrics.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// Writes the text generated at a step.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_sample(&self, step: u64, text: &str) -> anyhow::Result<()> {
        let folder = self.path.join("samples");
        let path = folder.join(format!("step-{step:08}.txt"));
        fs::create_dir_all(&folder)
            .and_then(|()| storage::write_file(&path, text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}
