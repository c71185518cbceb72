use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, ensure};
use bitnet::storage;
use burn::{
    record::{FullPrecisionSettings, NamedMpkBytesRecorder, Record, Recorder},
    tensor::backend::Backend,
};
use serde::{Deserialize, Serialize};

const FORMAT: u32 = 1;
const STATE: &str = "state.json";
const MODEL: &str = "model.mpk";
const OPTIMIZER: &str = "optimizer.mpk";

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of the checkpoint's layout.
    format: u32,
    /// Optimiser steps done: also the data position, since batches are numbered.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds spent in training steps.
    pub seconds: f64,
}

impl Default for State {
    fn default() -> Self {
        Self { format: FORMAT, step: 0, tokens: 0, seconds: 0.0 }
    }
}

/// A checkpoint on disk: `state.json`, and the records of model and optimiser in full precision.
/// They hold no trace of the backend.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    /// Where the run stood.
    pub state: State,
}

impl Checkpoint {
    /// The newest checkpoint in the folder, if any.
    ///
    /// # Errors
    /// If the folder or the checkpoint cannot be read.
    pub fn newest(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some((_, path)) = numbered(folder)?.pop() else { return Ok(None) };
        let state_path = path.join(STATE);
        let json = fs::read(&state_path)
            .with_context(|| format!("cannot read {}", state_path.display()))?;
        let state: State = serde_json::from_slice(&json)
            .with_context(|| format!("{} is damaged", state_path.display()))?;
        ensure!(
            state.format == FORMAT,
            "{} has format {}, this program reads {FORMAT}",
            path.display(),
            state.format
        );
        Ok(Some(Self { path, state }))
    }

    /// Writes a checkpoint, complete or not at all, then removes all but the newest `keep`.
    ///
    /// # Errors
    /// If it cannot be written; earlier ones then remain.
    pub fn save<B: Backend>(
        folder: &Path,
        keep: usize,
        state: State,
        model: impl Record<B>,
        optimizer: impl Record<B>,
    ) -> anyhow::Result<()> {
        let path = folder.join(format!("step-{:08}", state.step));
        storage::write_folder(&path, |folder| -> anyhow::Result<()> {
            fs::write(folder.join(MODEL), to_bytes(model)?)?;
            fs::write(folder.join(OPTIMIZER), to_bytes(optimizer)?)?;
            fs::write(folder.join(STATE), serde_json::to_vec_pretty(&state)?)?;
            Ok(())
        })
        .with_context(|| format!("cannot write {}", path.display()))?;
        let all = numbered(folder)?;
        for (_, old) in &all[..all.len().saturating_sub(keep)] {
            fs::remove_dir_all(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(())
    }

    /// Reads the records of model and optimiser.
    ///
    /// # Errors
    /// If they are missing or damaged.
    pub fn load<B: Backend, M: Record<B>, O: Record<B>>(
        &self,
        device: &B::Device,
    ) -> anyhow::Result<(M, O)> {
        Ok((self.record(MODEL, device)?, self.record(OPTIMIZER, device)?))
    }

    fn record<B: Backend, R: Record<B>>(
        &self,
        name: &str,
        device: &B::Device,
    ) -> anyhow::Result<R> {
        let path = self.path.join(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        NamedMpkBytesRecorder::<FullPrecisionSettings>::default().load(bytes, device).map_err(
            |error| {
                let reason = error.to_string();
                let reason = reason.lines().next().unwrap_or_default();
                anyhow!("{} is damaged: {reason}", path.display())
            },
        )
    }
}

fn to_bytes<B: Backend>(record: impl Record<B>) -> anyhow::Result<Vec<u8>> {
    Ok(NamedMpkBytesRecorder::<FullPrecisionSettings>::default().record(record, ())?)
}

/// The checkpoints of a folder, oldest first. Unfinished ones have other names.
fn numbered(folder: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(Ok(step)) = name.strip_prefix("step-").map(str::parse) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
}
