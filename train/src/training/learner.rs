//! burn-train's learner, with this project's model, optimiser and schedule.

use bitnet::optim::{AdamWConfig, MuonAdamW, MuonConfig, linear_weights};
use burn::tensor::backend::AutodiffBackend;
use burn_train::LearningComponentsMarker;

use super::{model::LanguageModel, optimizer::SharedOptimizer, scheduler::StepScheduler};
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
