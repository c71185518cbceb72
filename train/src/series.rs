//! Several runs, one after the other, that are stopped and gone on with as one.

use std::path::Path;

use anyhow::bail;

use crate::{
    config::Config,
    run_folder::RunFolder,
    training::{self, Options, Outcome},
};

/// A run of a series.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Its folder's name within that of the series.
    pub name: String,
    /// Its configuration.
    pub config: Config,
}

/// What has become of a series.
pub struct Series {
    /// How each run ended, in the order of the plan; `None` where it has not.
    pub outcomes: Vec<Option<Outcome>>,
    /// Runs that failed, and why.
    failed: Vec<(String, anyhow::Error)>,
    interrupted: bool,
}

impl Series {
    /// Makes every run that has not ended go on to its end: new ones from their start, others from
    /// their newest checkpoint. One that fails does not keep the others from running.
    pub fn run(folder: &Path, runs: &[Planned], options: Options) -> Self {
        let options = Options { in_series: true, ..options };
        let mut series = Self { outcomes: Vec::new(), failed: Vec::new(), interrupted: false };
        for (index, Planned { name, config }) in runs.iter().enumerate() {
            if series.interrupted {
                series.outcomes.push(None);
                continue;
            }
            say!("== {name} ({} of {})", index + 1, runs.len());
            let path = folder.join(name);
            let result = match RunFolder::has_config(&path) {
                true => RunFolder::open(&path)
                    .and_then(|folder| training::resume(config.clone(), &folder, options, false)),
                false => training::start(config.clone(), &path, options),
            };
            series.outcomes.push(match result {
                Ok(outcome) => {
                    series.interrupted = outcome.is_none();
                    outcome
                }
                Err(error) => {
                    say!("== {name} failed: {error:#}");
                    series.failed.push((name.clone(), error));
                    None
                }
            });
        }
        series
    }

    /// Whether every run has ended.
    pub fn is_complete(&self) -> bool {
        self.outcomes.iter().all(Option::is_some)
    }

    /// Says how an interrupted series goes on.
    ///
    /// # Errors
    /// If a run failed: names the first one.
    pub fn check(&self) -> anyhow::Result<()> {
        let ended = self.outcomes.iter().flatten().count();
        let all = self.outcomes.len();
        match &self.failed[..] {
            [] => {}
            [(name, error)] => bail!("{name} failed: {error:#}"),
            [(name, error), others @ ..] => {
                bail!("{name} failed, and {} more of {all} runs: {error:#}", others.len())
            }
        }
        if self.interrupted {
            say!("stopped: {ended} of {all} runs have ended; the same command goes on");
        }
        Ok(())
    }
}
