//! A run under way: its loop, and what that does beside the steps.

mod interval;
mod quant_monitor;
mod reports;
mod saving;
pub mod setup;
pub mod strategy;
mod validation;

use std::time::Instant;

use burn::tensor::backend::AutodiffBackend;
use burn_train::{Interrupter, Learner, SupervisedTrainingEventProcessor};

use self::{quant_monitor::QuantMonitor, setup::Setup};
use super::{
    learner::{Components, model::LanguageModel},
    state::State,
};

/// What takes burn-train's events.
pub type Processor<B> = SupervisedTrainingEventProcessor<Components<B>>;

/// A run under way. Its loop is in `strategy`, what it reports in `reports`, what it keeps in `saving`.
pub struct Run<'a, B: AutodiffBackend> {
    /// What stays the same.
    pub setup: &'a Setup<B>,
    /// Where the run stands.
    pub state: State,
    /// The moving average of the weights, if there is one.
    pub average: Option<LanguageModel<B::InnerBackend>>,
    /// Model, optimiser and schedule.
    pub learner: Learner<Components<B>>,
    /// Takes what is to be shown.
    pub processor: Processor<B>,
    /// Measures the quantised layers, where there are any.
    pub monitor: Option<QuantMonitor<B>>,
    /// Says whether the run is to stop.
    pub interrupter: Interrupter,
    /// Step and time of the last checkpoint.
    pub saved: (u64, Instant),
}
