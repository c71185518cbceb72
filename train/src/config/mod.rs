//! The configuration of a run: one TOML file, with overrides from the command line.

mod changes;
mod distill;
mod load;
mod optimizer;
mod paths;
mod sections;
mod train;
mod twin;

pub use changes::Changes;
pub use distill::DistillSection;
pub use load::{Overrides, from_toml, load, pairs, to_toml};
pub use optimizer::OptimizerKind;
pub use sections::{
    BYTES, BackendSection, CheckpointSection, DataSection, EvalSection, LogSection, ModelSection,
    SampleSection,
};
pub use train::TrainSection;
pub use twin::TwinSection;

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context, bail, ensure};
use bitnet::backend::MAX_THREADS;
use serde::{Deserialize, Serialize};

/// Everything a run depends on. Each key has a default; unknown ones are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Seed of the initial weights, of the batches and of the samples.
    pub seed: u64,
    /// Where the run computes.
    pub backend: BackendSection,
    /// The model.
    pub model: ModelSection,
    /// The text.
    pub data: DataSection,
    /// The optimisation.
    pub train: TrainSection,
    /// Validation.
    pub eval: EvalSection,
    /// What is saved, and how often.
    pub checkpoint: CheckpointSection,
    /// What is measured beside the losses.
    pub log: LogSection,
    /// The text generated at each validation.
    pub sample: SampleSection,
    /// The model to learn from.
    pub distill: DistillSection,
    /// Learning rates of the models beside the ternary one.
    pub twin: TwinSection,
}

impl Config {
    /// How many micro-batches are computed at the same time. Backends that use the whole device
    /// for each operation take one after the other.
    pub fn workers(&self) -> usize {
        if self.backend.kind.is_single_threaded() { self.train.workers } else { 1 }
    }

    /// Checks every value that has a range, and fills in those that follow from others.
    ///
    /// # Errors
    /// The first key out of its range.
    pub fn resolve(mut self) -> anyhow::Result<Self> {
        let ModelSection { dim, heads, dim_head, .. } = self.model;
        ensure!(
            dim_head.is_some() || heads == 0 || dim.is_multiple_of(heads),
            "model.dim {dim} is no multiple of model.heads {heads}: set model.dim_head"
        );
        self.model.fill_in();
        // The vocabulary is the tokenizer's; any valid size will do for the check.
        self.model.transformer(256).validate().context("[model]")?;
        let TrainSection { steps, batch, accumulation, betas, .. } = self.train;
        for (key, value) in [
            ("train.steps", steps),
            ("train.batch", batch as u64),
            ("train.accumulation", accumulation as u64),
            ("train.workers", self.train.workers as u64),
            ("train.log_every", self.train.log_every),
            ("eval.every", self.eval.every),
            ("eval.batch", self.eval.batch as u64),
            ("train.tokens", self.train.tokens.unwrap_or(1)),
            ("checkpoint.keep", self.checkpoint.keep as u64),
            ("data.piece_mib", self.data.piece_mib),
            ("train.muon_iterations", self.train.muon_iterations as u64),
        ] {
            ensure!(value > 0, "{key} is 0, must be 1 or above");
        }
        for (key, value) in [
            ("train.batch", batch),
            ("train.accumulation", accumulation),
            ("eval.batch", self.eval.batch),
        ] {
            ensure!(value <= 1 << 20, "{key} is {value}, must be at most {}", 1 << 20);
        }
        let (workers, most) = (self.train.workers, MAX_THREADS);
        ensure!(workers <= most, "train.workers is {workers}, must be at most {most}");
        let iterations = self.train.muon_iterations;
        ensure!(iterations <= 20, "train.muon_iterations is {iterations}, must be at most 20");
        for (key, value, highest) in [
            ("train.lr", self.train.lr, 1e3),
            ("train.second_lr", self.train.second_lr, 1e3),
            ("train.final_lr_fraction", self.train.final_lr_fraction, 1.0),
            ("train.weight_decay", self.train.weight_decay, 1e3),
            ("train.clip", self.train.clip, f64::MAX),
            ("train.decay_fraction", self.train.decay_fraction, 1.0),
            ("train.max_rise", self.train.max_rise, f64::MAX),
            ("train.minutes", self.train.minutes, 1e9),
            ("checkpoint.minutes", self.checkpoint.minutes, 1e9),
            ("train.muon_momentum", self.train.muon_momentum, 0.9999),
            ("train.ema", self.train.ema, 0.999999),
            ("data.validation", self.data.validation, 0.9),
            ("distill.weight", self.distill.weight, 1.0),
            ("data.test", self.data.test, 0.9),
        ] {
            ensure!(
                (0.0..=highest).contains(&value),
                "{key} is {value}, must be between 0 and {highest}"
            );
        }
        let rates = [
            ("train.lr", self.train.lr),
            ("train.epsilon", self.train.epsilon),
            ("distill.temperature", self.distill.temperature),
        ];
        for (key, value) in rates.into_iter().chain(self.twin.rates()) {
            ensure!(value > 0.0 && value.is_finite(), "{key} is {value}, must be above 0");
        }
        for (key, value) in [
            ("train.epochs", self.train.epochs),
            ("train.tokens_per_parameter", self.train.tokens_per_parameter),
        ] {
            let value = value.unwrap_or(1.0);
            ensure!(value > 0.0 && value <= 1e9, "{key} is {value}, must be above 0, at most 1e9");
        }
        ensure!(
            self.checkpoint.every > 0 || self.checkpoint.minutes > 0.0,
            "checkpoint.every and checkpoint.minutes are both 0: nothing would be saved"
        );
        for beta in betas {
            ensure!((0.0..1.0).contains(&beta), "train.betas has {beta}, must be below 1");
        }
        let held_out = self.data.validation + self.data.test;
        ensure!(held_out < 1.0, "data.validation and data.test are {held_out}: nothing is left");
        let path = |path: &Option<PathBuf>| path.clone().map(PathBuf::into_os_string);
        let text = |text: &Option<String>| text.clone().map(OsString::from);
        for (key, value) in [
            ("data.cache", path(&self.data.cache)),
            ("data.datasets", path(&self.data.datasets)),
            ("data.mirror", text(&self.data.mirror)),
            ("train.init_from", text(&self.train.init_from)),
            ("distill.teacher", text(&self.distill.teacher)),
        ] {
            let is_empty = value.is_some_and(|value| value.is_empty());
            ensure!(!is_empty, "{key} is empty; leave it out for its default");
        }
        if self.data.sources.is_empty() {
            bail!("data.sources is empty; name a dataset or a file");
        }
        Ok(self)
    }

    /// Replaces a budget of tokens, epochs or tokens per parameter by the steps it comes to,
    /// rounded up, for a model of `parameters` parameters and `text` tokens to train on.
    ///
    /// # Errors
    /// If there are more steps than can be counted.
    pub fn with_steps(mut self, parameters: u128, text: usize) -> anyhow::Result<Self> {
        let train = &mut self.train;
        let tokens = train
            .tokens
            .take()
            .map(|tokens| tokens as f64)
            .or(train.epochs.take().map(|epochs| epochs * text as f64))
            .or(train.tokens_per_parameter.take().map(|ratio| ratio * parameters as f64));
        if let Some(tokens) = tokens {
            let per_step = (train.batch * train.accumulation * self.model.context) as f64;
            let steps = (tokens / per_step).ceil().max(1.0);
            ensure!(steps < 1e15, "the budget of {tokens:e} tokens is {steps:e} steps: too many");
            train.steps = steps as u64;
        }
        Ok(self)
    }

    /// The same run with its learning rates scaled so that the highest is `lr`.
    pub fn with_lr(mut self, lr: f64) -> Self {
        self.train.second_lr *= lr / self.train.lr;
        self.train.lr = lr;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_come_to_steps() {
        // 16 windows of 128 tokens: 2048 tokens a step.
        let steps = |set: fn(&mut TrainSection)| {
            let mut config = Config::default();
            set(&mut config.train);
            let config = config.with_steps(5000, 100_000).unwrap();
            assert_eq!((config.train.tokens, config.train.epochs), (None, None));
            config.train.steps
        };
        assert_eq!(steps(|_| ()), 1000);
        assert_eq!(steps(|train| train.tokens = Some(2048)), 1);
        assert_eq!(steps(|train| train.tokens = Some(2049)), 2);
        assert_eq!(steps(|train| train.epochs = Some(1.5)), 74);
        assert_eq!(steps(|train| train.tokens_per_parameter = Some(20.0)), 49);
    }
}
