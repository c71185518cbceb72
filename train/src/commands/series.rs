//! Several runs, one after the other, that are stopped and continued as one.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Read},
    path::Path,
};

use anyhow::{Context, bail};
use bitnet::storage::{Kind, Output, open_own};

use crate::{
    config::Config,
    run_folder::{self, RunFolder},
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

/// How deep below its folder the runs of a series are: those that tune lie in a folder of their
/// own.
const DEPTH: u32 = 2;

/// Checks that the runs of a series can be in `folder`: where nothing is, in an empty one, or beside
/// an earlier run, and not within another run.
///
/// # Errors
/// If something else is there.
pub fn check_folder(folder: &Path) -> anyhow::Result<()> {
    run_folder::check_outside(folder)?;
    let shown = folder.display();
    let mut entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound && Kind::at(folder)?.is_none() => {
            return Ok(());
        }
        Err(error) => match Kind::at(folder)? {
            Some(other) if other != Kind::Folder => {
                bail!("{shown} exists and is {other}; choose another --out")
            }
            _ => return Err(error).with_context(|| format!("cannot read {shown}")),
        },
        Ok(entries) => entries,
    };
    if entries.next().is_none() || holds_run(folder, DEPTH) {
        return Ok(());
    }
    bail!("{shown} exists and is not empty, and holds no run; choose another --out")
}

/// Whether a run was begun in a folder below `folder`.
fn holds_run(folder: &Path, depth: u32) -> bool {
    let folders = fs::read_dir(folder).into_iter().flatten().flatten();
    folders.map(|entry| entry.path()).any(|path| {
        run_folder::is_begun(&path) || depth > 1 && path.is_dir() && holds_run(&path, depth - 1)
    })
}

/// Whether a file begins with `text`.
///
/// # Errors
/// If it cannot be read.
pub fn begins(path: &Path, text: &str) -> io::Result<bool> {
    let mut start = Vec::new();
    let file = open_own(path, OpenOptions::new().read(true))?;
    file.take(text.len() as u64).read_to_end(&mut start)?;
    Ok(start == text.as_bytes())
}

/// What messages about a product begin with.
pub fn cannot_write(to: &Output) -> String {
    format!("cannot write {}", to.path().display())
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
            let result = match run_folder::has_config(&path) {
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
