//! Checkpoints: a run on disk, whole or not there.

mod manifest;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail, ensure};
use bitnet::storage;
use burn::{
    record::{FullPrecisionSettings, NamedMpkBytesRecorder, Record, Recorder},
    tensor::backend::{AutodiffBackend, Backend},
};

use self::manifest::{Manifest, NAME as MANIFEST};
use super::state::State;
use crate::config::{self, CheckpointSection, Config};

const FORMAT: u32 = 3;
const STATE: &str = "state.toml";
const CONFIG: &str = "config.toml";
const MODEL: &str = "model.mpk";
const OPTIMIZER: &str = "optimizer.mpk";
const AVERAGE: &str = "ema.mpk";
const CODES: &str = "codes.bin";
/// All files of a checkpoint.
const FILES: [&str; 7] = [STATE, CONFIG, MODEL, OPTIMIZER, AVERAGE, CODES, MANIFEST];

/// A checkpoint on disk: `state.toml`, `config.toml`, the records of model, optimiser and, if
/// there is one, moving average in full precision, the codes of the weights at the last log line,
/// and a manifest with the sums of these. Its records do not depend on the backend.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    /// Where the run stood.
    pub state: State,
    /// The configuration it ran with.
    pub config: Config,
}

/// What [`Checkpoint::newest`] found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The newest checkpoint that is whole, if there is any.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that are damaged, and how.
    pub damaged: Vec<(PathBuf, String)>,
}

impl Checkpoint {
    /// The newest checkpoint in the folder that is as it was written.
    ///
    /// # Errors
    /// If the folder cannot be read, or a checkpoint is of another version of the program.
    pub fn newest(folder: &Path) -> anyhow::Result<Found> {
        let mut damaged = Vec::new();
        for (_, path) in numbered(folder)?.into_iter().rev() {
            // A link leads to what somebody else keeps.
            let manifest = storage::has_own_folder(&path)
                .map_err(anyhow::Error::from)
                .and_then(|_| Manifest::read(&path));
            if let Ok(Manifest { format, .. }) = manifest
                && format != FORMAT
            {
                bail!("{} has format {format}, this program reads {FORMAT}", path.display());
            }
            let opened = manifest
                .and_then(|manifest| manifest.check(&path))
                .and_then(|()| Self::open(path.clone()));
            match opened {
                Ok(checkpoint) => return Ok(Found { checkpoint: Some(checkpoint), damaged }),
                Err(error) => damaged.push((path, format!("{error:#}"))),
            }
        }
        Ok(Found { checkpoint: None, damaged })
    }

    /// Reads a checkpoint but for its records.
    fn open(path: PathBuf) -> anyhow::Result<Self> {
        let config = config::from_toml(&read_text(&path, CONFIG)?).context(CONFIG)?;
        let state = read_state(&path)?;
        Ok(Self { path, state, config })
    }

    /// Writes a checkpoint, complete or not at all, then removes those that need not be kept.
    ///
    /// # Errors
    /// If it cannot be written; earlier ones then remain.
    pub fn save<B: AutodiffBackend>(
        folder: &Path,
        config: &Config,
        state: &State,
        model: impl Record<B>,
        optimizer: impl Record<B>,
        codes: &[u8],
        average: Option<impl Record<B::InnerBackend>>,
    ) -> anyhow::Result<()> {
        let path = folder.join(folder_name(state.step));
        storage::create_own_folder(folder)
            .with_context(|| format!("cannot write {}", folder.display()))?;
        storage::write_folder(&path, |folder| -> anyhow::Result<()> {
            fs::write(folder.join(MODEL), to_bytes(model)?)?;
            fs::write(folder.join(OPTIMIZER), to_bytes(optimizer)?)?;
            fs::write(folder.join(CODES), codes)?;
            if let Some(average) = average {
                fs::write(folder.join(AVERAGE), to_bytes(average)?)?;
            }
            fs::write(folder.join(CONFIG), config::to_toml(config)?)?;
            fs::write(folder.join(STATE), toml::to_string(state)?)?;
            Manifest::write(folder, FORMAT)
        })
        .with_context(|| format!("cannot write {}", path.display()))?;
        remove_old(folder, &config.checkpoint)
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

    /// The codes of the weights at the last log line; none in checkpoints of earlier versions.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn codes(&self) -> anyhow::Result<Vec<u8>> {
        let path = self.path.join(CODES);
        match storage::read_own(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Reads the record of the moving average; `None` if the run had none.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn load_average<B: Backend, M: Record<B>>(
        &self,
        device: &B::Device,
    ) -> anyhow::Result<Option<M>> {
        match self.path.join(AVERAGE).exists() {
            true => self.record(AVERAGE, device).map(Some),
            false => Ok(None),
        }
    }

    fn record<B: Backend, R: Record<B>>(
        &self,
        name: &str,
        device: &B::Device,
    ) -> anyhow::Result<R> {
        let path = self.path.join(name);
        let bytes =
            storage::read_own(&path).with_context(|| format!("cannot read {}", path.display()))?;
        NamedMpkBytesRecorder::<FullPrecisionSettings>::default().load(bytes, device).map_err(
            |error| {
                let reason = error.to_string();
                let reason = reason.lines().next().unwrap_or_default();
                anyhow!("{} is damaged: {reason}", path.display())
            },
        )
    }
}

impl Found {
    /// Renames the damaged checkpoints, so that they no longer count as the newest ones. What is
    /// left of one may be wanted: no earlier one is given up for it.
    ///
    /// # Errors
    /// If one cannot be renamed.
    pub fn set_damaged_aside(&self) -> anyhow::Result<()> {
        for (path, _) in &self.damaged {
            storage::set_aside(path, "damaged")
                .with_context(|| format!("cannot rename {}", path.display()))?;
        }
        Ok(())
    }
}

fn read_state(checkpoint: &Path) -> anyhow::Result<State> {
    let state: State = toml::from_str(&read_text(checkpoint, STATE)?)
        .map_err(|error| anyhow!("{}", error.message()))
        .with_context(|| format!("{STATE} is damaged"))?;
    ensure!(state.interval.loss.is_finite(), "{STATE} has a loss that is not finite");
    Ok(state)
}

fn read_text(checkpoint: &Path, name: &'static str) -> anyhow::Result<String> {
    let bytes = storage::read_own(&checkpoint.join(name)).context(name)?;
    String::from_utf8(bytes).context(name)
}

fn to_bytes<B: Backend>(record: impl Record<B>) -> anyhow::Result<Vec<u8>> {
    Ok(NamedMpkBytesRecorder::<FullPrecisionSettings>::default().record(record, ())?)
}

/// Removes all checkpoints but the newest ones, those of the lowest validation losses, and those
/// of the steps to be kept.
fn remove_old(folder: &Path, section: &CheckpointSection) -> anyhow::Result<()> {
    let all = numbered(folder)?;
    let mut losses: Vec<(f64, u64)> = all
        .iter()
        .filter_map(|(step, path)| {
            // The loss of the very step. One whose state cannot be read is not among the best.
            let validated = read_state(path).ok()?.validated.filter(|v| v.step == *step)?;
            Some((validated.loss, *step))
        })
        .collect();
    losses.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    losses.truncate(section.keep_best);
    for (step, path) in &all[..all.len().saturating_sub(section.keep)] {
        let is_best = losses.iter().any(|(_, best)| best == step);
        let is_milestone = section.keep_every > 0 && step.is_multiple_of(section.keep_every);
        if !is_best && !is_milestone && !has_others(path)? {
            storage::remove_folder(path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Whether somebody has put something into a checkpoint.
fn has_others(path: &Path) -> anyhow::Result<bool> {
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    for entry in entries {
        let name = entry?.file_name();
        if !FILES.iter().any(|file| name == *file) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The name of the checkpoint of a step.
fn folder_name(step: u64) -> String {
    format!("step-{step:08}")
}

/// The checkpoints of a folder, oldest first. Unfinished and damaged ones have other names, and so
/// have copies that somebody made.
fn numbered(folder: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let step = name.strip_prefix("step-").and_then(|step| step.parse().ok());
        if let Some(step) = step.filter(|&step| name == folder_name(step)) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::state::Validated;

    #[test]
    fn the_newest_the_best_and_the_milestones_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let losses = [(1, 3.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.5), (6, 2.5), (7, 2.5)];
        for (step, loss) in losses {
            let path = folder.path().join(format!("step-{step:08}"));
            fs::create_dir(&path).unwrap();
            let validated = Some(Validated { step, loss });
            let state = State { step, validated, ..State::default() };
            fs::write(path.join(STATE), toml::to_string(&state).unwrap()).unwrap();
        }
        // The loss of another step does not make a checkpoint one of the best.
        let stale = State { validated: Some(Validated { step: 1, loss: 0.1 }), ..State::default() };
        let path = folder.path().join("step-00000006").join(STATE);
        fs::write(path, toml::to_string(&stale).unwrap()).unwrap();

        let steps = || numbered(folder.path()).unwrap().into_iter().map(|(step, _)| step);
        let section = |keep, keep_best, keep_every| CheckpointSection {
            keep,
            keep_best,
            keep_every,
            ..CheckpointSection::default()
        };
        remove_old(folder.path(), &section(1, 3, 5)).unwrap();
        assert_eq!(steps().collect::<Vec<_>>(), [2, 3, 4, 5, 7]);
        remove_old(folder.path(), &section(1, 1, 0)).unwrap();
        assert_eq!(steps().collect::<Vec<_>>(), [2, 7]);
        remove_old(folder.path(), &section(1, 0, 0)).unwrap();
        assert_eq!(steps().collect::<Vec<_>>(), [7]);
    }
}
