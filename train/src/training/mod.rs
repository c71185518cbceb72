//! A training run: burn-train's learner, with this project's step, loop and checkpoints.
//!
//! | | |
//! |---|---|
//! | `input` | what it learns from: the text as tokens, the teacher |
//! | `learner` | burn-train's learner, and what is put into its places |
//! | `step` | one optimiser step |
//! | `state`, `checkpoint` | where a run stands, and that on disk |
//! | `run` | the loop: steps, log lines, validations, samples, saving |
//! | `display` | where it shows itself |
//! | `session` | all of these from a start, or a checkpoint, to an end; `outcome` is that end |
//! | `preflight`, `speed` | what is checked, and what is measured, before it |
//! | `bench` | the same step with a clock |

mod bench;
mod checkpoint;
mod display;
mod hex;
mod input;
mod learner;
mod options;
mod outcome;
mod preflight;
mod run;
mod session;
mod speed;
mod state;
mod step;

use std::path::Path;

use anyhow::{bail, ensure};
use bitnet::backend::BackendVisitor;
use burn::tensor::backend::Backend;

pub use bench::{Measured, bench};
pub use learner::scheduler::Rates;
pub use options::Options;
pub use outcome::Outcome;

use self::{
    checkpoint::Checkpoint,
    input::{teacher, text::Text},
    session::{Session, open_initial},
};
use crate::{
    config::{Changes, Config},
    output::{Lengths, Records},
    run_folder::{self, RunFolder},
};

/// Starts a run in the new folder `out`. Returns how it ended, or nothing if it was interrupted.
///
/// # Errors
/// If its data cannot be used, its folder cannot be written, or the training diverges.
pub fn start(config: Config, out: &Path, options: Options) -> anyhow::Result<Option<Outcome>> {
    // First what can fail: a run that cannot begin leaves no folder behind.
    run_folder::check_new(out)?;
    preflight::check(&config)?;
    let (text, config) = Text::load(config)?;
    let teacher = teacher::check(&config, text.tokenizer.as_ref())?;
    let initial = open_initial(&config, &text)?;
    let config = config.with_absolute_paths();
    let (folder, start) = RunFolder::create(out, &config)?;
    let (start, resumed) = (Some(start), None);
    visit(Session { config, text, teacher, folder, start, initial, resumed, options })
}

/// Continues the run in `folder` from its newest checkpoint that is whole; returns the same.
///
/// # Errors
/// As [`start`], or if no checkpoint is whole, or if `config` makes it another run: `force` allows
/// what the saved weights survive.
pub fn resume(
    config: Config,
    folder: &RunFolder,
    options: Options,
    force: bool,
) -> anyhow::Result<Option<Outcome>> {
    let found = Checkpoint::newest(&folder.checkpoints())?;
    for (path, how) in &found.damaged {
        note!("warning: {} is damaged ({how})", path.display());
    }
    preflight::check(&config)?;
    let (text, config) = Text::load(config)?;
    let teacher = teacher::check(&config, text.tokenizer.as_ref())?;
    let path = folder.path().display();
    match &found.checkpoint {
        Some(Checkpoint { state, config: old, .. }) => {
            let changes = Changes::between(old, &config)?;
            changes.check(force)?;
            let vocabulary = text.tokenizer.vocab_size();
            ensure!(
                state.vocabulary == vocabulary,
                "{path} was trained with {} tokens, data.tokenizer has {vocabulary}: the saved \
                 weights would not fit; start a new run",
                state.vocabulary
            );
            ensure!(
                state.rates == options.rates,
                match state.rates {
                    Rates::RangeTest =>
                        format!("{path} is a run of lr-find, which goes on with it"),
                    Rates::Schedule => format!("{path} was not begun by lr-find"),
                }
            );
            ensure!(
                force || state.text == text.fingerprint,
                "{path} was trained on other tokens than those of data.sources now; \
                 insist with --force-changes"
            );
            ensure!(
                force || state.teacher == teacher,
                "{path} was trained with another teacher than distill.teacher now; \
                 insist with --force-changes"
            );
            for line in changes.lines() {
                say!("changed since the checkpoint: {line}");
            }
            if let (Some(end), true) = (state.end(&config), folder.has_ended()) {
                say!("the run is at its end: {} to go on", end.describe(&config));
                return folder.read_result().map(Some);
            }
            say!("continuing after step {}", state.step);
        }
        None if found.damaged.is_empty() => {
            say!("{path} has no checkpoint yet: starting at the first step");
        }
        None => bail!("no checkpoint of {path} is whole: there is nothing to go on from"),
    }
    let initial = match found.checkpoint {
        Some(_) => None,
        None => open_initial(&config, &text)?,
    };
    let config = config.with_absolute_paths();
    found.set_damaged_aside()?;
    folder.remove_result()?;
    folder.save_config(&config)?;
    let (step, lengths) = match &found.checkpoint {
        Some(Checkpoint { state, .. }) => (state.step, state.lengths()),
        None => (0, Lengths::default()),
    };
    folder.remove_samples_after(step)?;
    for path in Records::cut(folder, lengths)? {
        note!("warning: rows of {} are lost", path.display());
    }
    let (folder, start, resumed) = (folder.clone(), None, found.checkpoint);
    visit(Session { config, text, teacher, folder, start, initial, resumed, options })
}

fn visit(session: Session) -> anyhow::Result<Option<Outcome>> {
    let backend = session.config.backend.clone();
    backend.visit(session)?
}

impl BackendVisitor for Session {
    type Output = anyhow::Result<Option<Outcome>>;

    fn visit<B: Backend>(self, device: B::Device) -> Self::Output {
        self.run::<B>(&device)
    }
}
