//! burn-train's learner, and what this project puts into its places: the model, the optimiser, the
//! schedule, the loaders. burn-train is made for epochs of batches; a run here is counted in
//! optimiser steps and goes on from any of them to the bit, hence its own loop (`run::strategy`), an
//! optimiser whose state the checkpoints can read (`shared_optimizer`), loaders that begin at any
//! index, and one type for what a step returns and what is reported (`item`).

pub mod item;
pub mod loaders;
pub mod model;
pub mod scheduler;
mod shared_optimizer;

use bitnet::optim::{AdamWConfig, MuonAdamW, MuonConfig, linear_weights};
use burn::tensor::backend::AutodiffBackend;
use burn_train::LearningComponentsMarker;

use self::{model::LanguageModel, scheduler::StepScheduler, shared_optimizer::SharedOptimizer};
use crate::config::{OptimizerKind, TrainSection};

/// The optimiser of a run.
pub type RunOptimizer<B> = SharedOptimizer<MuonAdamW<LanguageModel<B>, B>>;

/// burn-train's types, filled in.
pub type Components<B> =
    LearningComponentsMarker<B, StepScheduler, LanguageModel<B>, RunOptimizer<B>>;

/// The optimiser of a new run.
pub fn optimizer<B: AutodiffBackend>(
    train: &TrainSection,
    model: &LanguageModel<B>,
) -> RunOptimizer<B> {
    let schedule = train.schedule();
    let adamw = AdamWConfig { betas: train.betas.into(), epsilon: train.epsilon, schedule };
    let muon =
        MuonConfig { momentum: train.muon_momentum, iterations: train.muon_iterations, schedule };
    let matrices = match train.optimizer {
        OptimizerKind::AdamW => Vec::new(),
        OptimizerKind::Muon => {
            linear_weights(model.transformer.linears().map(|(_, linear)| linear))
        }
    };
    SharedOptimizer::new(MuonAdamW::new(matrices, &muon, &adamw))
}
