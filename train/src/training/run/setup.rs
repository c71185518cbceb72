use std::sync::Arc;

use burn::tensor::backend::AutodiffBackend;

use crate::{
    config::Config,
    run_folder::RunFolder,
    training::{
        display::Display,
        input::text::Text,
        learner::{RunOptimizer, loaders::ValidationLoader},
        speed::Speed,
        step::workers::Workers,
    },
};

/// What stays the same from the start of a session to its end.
pub struct Setup<B: AutodiffBackend> {
    /// The configuration.
    pub config: Config,
    /// The text.
    pub text: Arc<Text>,
    /// Where the run is written.
    pub folder: RunFolder,
    /// The learner's optimiser, whose state the checkpoints hold.
    pub optimizer: RunOptimizer<B>,
    /// What its speed is measured against.
    pub speed: Speed,
    /// The step after which it stops as if interrupted.
    pub stop_at: Option<u64>,
    /// Compute the micro-batches.
    pub workers: Workers,
    /// The windows of the last validation.
    pub final_validation: Arc<ValidationLoader>,
    /// Where the run shows itself.
    pub display: Arc<Display>,
    /// Where it computes.
    pub device: B::Device,
}

impl<B: AutodiffBackend> Setup<B> {
    /// Tokens that a step trains on.
    pub fn tokens_per_step(&self) -> u64 {
        let Config { train, model, .. } = &self.config;
        (train.batch * train.accumulation * model.context) as u64
    }
}
