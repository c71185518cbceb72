//! A training run: burn-train's learner, with this project's step, loop and checkpoints.

mod checkpoint;
mod item;
mod loaders;
mod model;
mod optimizer;
mod preflight;
mod scheduler;
mod session;
mod strategy;
mod text;

use std::path::Path;

use anyhow::Context;
use bitnet::backend::BackendVisitor;
use burn::tensor::backend::Backend;

use self::{checkpoint::Checkpoint, session::Session, text::Text};
use crate::{config::Config, run_folder::RunFolder};

/// Starts a run in the new folder `out`.
///
/// # Errors
/// If its data cannot be used, its folder cannot be written, or the training diverges.
pub fn start(config: &Config, out: &Path, plain: bool) -> anyhow::Result<()> {
    // First what can fail: a run that cannot begin leaves no folder behind.
    preflight::check(config)?;
    let text = Text::load(config)?;
    let folder = RunFolder::create(out, config)?;
    visit(config, Session { config, text, folder, resumed: None, plain })
}

/// Continues the run in `folder` from its newest checkpoint.
///
/// # Errors
/// As [`start`], or if there is no checkpoint that can be read.
pub fn resume(config: &Config, folder: &RunFolder, plain: bool) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::newest(&folder.checkpoints())?
        .with_context(|| format!("{} has no checkpoint yet", folder.path().display()))?;
    let (done, steps) = (checkpoint.state.step, config.train.steps);
    if done >= steps {
        println!("the run has done {done} of {steps} steps; raise train.steps to go on");
        return Ok(());
    }
    preflight::check(config)?;
    let text = Text::load(config)?;
    folder.save_config(config)?;
    let folder = folder.clone();
    visit(config, Session { config, text, folder, resumed: Some(checkpoint), plain })
}

fn visit(config: &Config, session: Session<'_>) -> anyhow::Result<()> {
    config.backend.kind.visit(&config.backend.device, session)?
}

impl BackendVisitor for Session<'_> {
    type Output = anyhow::Result<()>;

    fn visit<B: Backend>(self, device: B::Device) -> Self::Output {
        self.run::<B>(&device)
    }
}
