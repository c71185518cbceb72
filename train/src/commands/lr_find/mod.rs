//! `train lr-find`: which learning rate a configuration wants.

mod curve;
mod grid;
mod stripped;
mod sweep;

use std::path::PathBuf;

pub use grid::{Grid, TUNING_STEPS};

use self::sweep::Sweep;
use super::run_args::{OverrideArgs, SessionArgs, default_out};
use crate::config::{self, MAX_STEPS};

/// What to train, and at which rates.
#[derive(Debug, clap::Args)]
pub struct LrFindArgs {
    /// Configuration of the model
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Compare short runs at these rates by their validation loss, e.g. 1e-3,2e-3,4e-3
    #[arg(long, value_name = "LR,...", value_delimiter = ',', conflicts_with_all = ["from", "to"])]
    grid: Vec<f64>,
    /// Steps of a run [default: 300, with --grid 200]
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..=MAX_STEPS))]
    steps: Option<u64>,
    /// The first rate
    #[arg(long, value_name = "LR", default_value_t = 1e-5)]
    from: f64,
    /// The last rate
    #[arg(long, value_name = "LR", default_value_t = 1.0)]
    to: f64,
    /// Folder of the runs [default: runs/NAME-lr-find, after the configuration file]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    session: SessionArgs,
}

impl LrFindArgs {
    /// Makes the runs go on to their ends, and prints how their losses compare.
    ///
    /// # Errors
    /// If configuration or rates cannot be used, or a run fails.
    pub fn run(self) -> anyhow::Result<()> {
        let config = &config::load(&self.config, &self.overrides.into())?;
        let out = match self.out {
            Some(out) => out,
            None => default_out(&self.config, "-lr-find")?,
        };
        let options = self.session.into();
        if self.grid.is_empty() {
            let steps = self.steps.unwrap_or(300);
            return Sweep { config, from: self.from, to: self.to, steps }.run(&out, options);
        }
        let steps = self.steps.unwrap_or(TUNING_STEPS);
        Grid { config, rates: &self.grid, steps }.run(&out, options)?;
        Ok(())
    }
}
