use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use bitnet::storage::{has_own_folder, read_own};
use serde::Serialize;

use super::series::{Rows, Series, thinned};
use crate::{
    config,
    output::INSTRUMENTS,
    run_folder::{self, RunFolder},
};

/// Times of the instruments that a page shows.
const TIMES: usize = 400;
/// What a page shows of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunData {
    /// The name of its folder.
    pub name: String,
    /// Every key with its value, in TOML.
    config: BTreeMap<String, String>,
    /// What its samples begin with.
    prompt: String,
    /// The log lines.
    training: Series,
    /// The validations.
    validation: Series,
    instruments: Option<Instruments>,
    samples: Vec<Sample>,
    /// `result.json`, once the run has ended.
    result: Option<serde_json::Value>,
}

/// The instruments as layers × times.
#[derive(Debug, Clone, Serialize)]
struct Instruments {
    layers: Vec<String>,
    steps: Vec<u64>,
    values: BTreeMap<&'static str, Vec<Vec<Option<f64>>>>,
}

#[derive(Debug, Clone, Serialize)]
struct Sample {
    step: u64,
    text: String,
}

impl RunData {
    /// Reads a run's folder, which need not have ended, and may be written to meanwhile.
    ///
    /// # Errors
    /// If it is no run folder, has no metrics yet, or a file is damaged.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        ensure!(folder.is_dir(), "there is no folder {}", folder.display());
        let config = RunFolder::read_config(folder)?;
        let path = folder.join(run_folder::METRICS);
        let metrics = Rows::read(&path)?.filter(|table| !table.rows.is_empty());
        let metrics =
            metrics.with_context(|| format!("{} has no metrics yet", folder.display()))?;
        for column in ["step", "tokens", "seconds"] {
            metrics.column(column, &path)?;
        }
        let absolute = fs::canonicalize(folder).unwrap_or_else(|_| folder.into());
        let name = absolute.file_name().unwrap_or(absolute.as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            config: config::pairs(&config)?,
            prompt: config.sample.prompt.clone(),
            training: Series::with("train_loss", &metrics, &path)?,
            validation: Series::with("validation_loss", &metrics, &path)?,
            instruments: read_instruments(&folder.join(run_folder::INSTRUMENTS))?,
            samples: read_samples(&folder.join(run_folder::SAMPLES))?,
            result: read_result(&folder.join(run_folder::RESULT))?,
        })
    }
}

/// Runs of the same name are called by their paths.
pub fn tell_apart(runs: &mut [RunData], paths: &[PathBuf]) {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    for (run, path) in runs.iter_mut().zip(paths) {
        if names.iter().filter(|name| **name == run.name).count() > 1 {
            run.name = path.display().to_string();
        }
    }
}

fn read_instruments(path: &Path) -> anyhow::Result<Option<Instruments>> {
    let Some(table) = Rows::read(path)?.filter(|table| !table.rows.is_empty()) else {
        return Ok(None);
    };
    let (step, layer) = (table.column("step", path)?, table.column("layer", path)?);
    // Rows by step and layer; layers in the order of the file.
    let mut layers: Vec<String> = Vec::new();
    let mut rows: BTreeMap<u64, BTreeMap<usize, usize>> = BTreeMap::new();
    for (row, cells) in table.rows.iter().enumerate() {
        let name = &cells[layer];
        let known = layers.iter().position(|layer| layer == name);
        let place = known.unwrap_or_else(|| {
            layers.push(name.clone());
            layers.len() - 1
        });
        let at = table.number(row, step, path)?.context("a row has no step")? as u64;
        rows.entry(at).or_default().insert(place, row);
    }
    let steps: Vec<u64> = thinned(&rows.keys().copied().collect::<Vec<_>>(), TIMES);
    let mut values = BTreeMap::new();
    for name in INSTRUMENTS {
        let column = table.column(name, path)?;
        let cell = |place, step| match rows[step].get(&place) {
            Some(&row) => table.number(row, column, path),
            None => Ok(None),
        };
        let of_layer = |place| steps.iter().map(|step| cell(place, step)).collect();
        let all: anyhow::Result<Vec<Vec<_>>> = (0..layers.len()).map(of_layer).collect();
        values.insert(name, all?);
    }
    Ok(Some(Instruments { layers, steps, values }))
}

fn read_samples(folder: &Path) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let cannot_read = || format!("cannot read {}", folder.display());
    if !has_own_folder(folder).with_context(cannot_read)? {
        return Ok(samples);
    }
    for entry in fs::read_dir(folder).with_context(cannot_read)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let step = name.strip_prefix("step-").and_then(|name| name.strip_suffix(".txt"));
        if let Some(Ok(step)) = step.map(str::parse) {
            let text =
                read_own(&path).with_context(|| format!("cannot read {}", path.display()))?;
            samples.push(Sample { step, text: String::from_utf8_lossy(&text).into_owned() });
        }
    }
    samples.sort_by_key(|sample| sample.step);
    Ok(samples)
}

fn read_result(path: &Path) -> anyhow::Result<Option<serde_json::Value>> {
    match read_own(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        Ok(json) => {
            let result = serde_json::from_slice(&json);
            result.map(Some).with_context(|| format!("{} is damaged", path.display()))
        }
    }
}
