//! What the command lines of several commands that train have in common.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{
    config::Overrides,
    training::{Options, Rates},
};

// What replaces keys of a configuration. A doc comment would be the commands' own description.
#[derive(Debug, clap::Args)]
pub struct OverrideArgs {
    /// Override a key, e.g. --set train.steps=200 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Train on this file, folder, pattern or named dataset instead (repeatable)
    #[arg(long, value_name = "SOURCE")]
    data: Vec<String>,
    /// Compute on this backend instead
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Compute on this device of the backend, by number or name; `train backends` lists them
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Begin with the weights of this model instead of random ones
    #[arg(long, value_name = "PATH")]
    init_from: Option<String>,
}

impl From<OverrideArgs> for Overrides {
    fn from(OverrideArgs { set, data, backend, device, init_from }: OverrideArgs) -> Self {
        Self { set, data, backend, device, init_from }
    }
}

// What is said about a session, rather than about the run. No doc comment either.
#[derive(Debug, clap::Args)]
pub struct SessionArgs {
    /// Stop after this step as if interrupted: save, and say how to go on
    #[arg(long, value_name = "STEP")]
    stop_at: Option<u64>,
    /// Print plain lines even on a terminal, instead of the dashboard
    #[arg(long)]
    plain: bool,
}

impl From<SessionArgs> for Options {
    fn from(SessionArgs { stop_at, plain }: SessionArgs) -> Self {
        Self { plain, stop_at, in_series: false, rates: Rates::default() }
    }
}

/// `runs/NAME` with a suffix, after the configuration file.
pub fn default_out(config: &Path, suffix: &str) -> anyhow::Result<PathBuf> {
    let mut name = config.file_stem().context("--config names no file")?.to_owned();
    name.push(suffix);
    Ok(PathBuf::from("runs").join(name))
}
