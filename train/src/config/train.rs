use bitnet::{
    backend::MAX_THREADS,
    optim::{Schedule, ScheduleKind},
};

use super::{
    OptimizerKind,
    key::{above, above_to, not_empty, section, within},
};

/// Steps of a run at most: with the most micro-batches a step, all of them can still be counted.
pub const MAX_STEPS: u64 = 1_000_000_000_000;

/// The keys that say how long a run is: one of them does.
pub(super) const BUDGETS: [&str; 4] =
    ["train.steps", "train.tokens", "train.epochs", "train.tokens_per_parameter"];

section! {
    /// `[train]`
    pub struct TrainSection in "train" {
        /// Optimiser steps. This, or one of the three budgets below, says how long the run is.
        steps: u64 = 1000, Safe, within(1..=MAX_STEPS);
        /// Instead of `steps`: tokens to train on.
        tokens: Option<u64> = None, Safe, within(1..);
        /// Instead of `steps`: as many tokens as this many passes over the training part have.
        epochs: Option<f64> = None, Safe, above_to(0.0, 1e9);
        /// Instead of `steps`: tokens to train on for each parameter of the model.
        tokens_per_parameter: Option<f64> = None, Safe, above_to(0.0, 1e9);
        /// Minutes of training after which the run ends although steps are left; 0: no limit.
        minutes: f64 = 0.0, Safe, within(0.0..=1e9);
        /// Model whose weights the run begins with, of any form that `infer` reads but packed folders, or a folder of
        /// a full-precision LLaMA or Qwen3. Default: none.
        init_from: Option<String> = None, Safe, not_empty;
        /// Begin with gains of one where that model has no norm before output and down projections.
        insert_sub_norms: bool = false, Safe;
        /// Windows of a micro-batch.
        batch: usize = 16, Experiment, within(1..=1 << 20);
        /// Micro-batches of a step; their gradients are averaged.
        accumulation: usize = 1, Experiment, within(1..=1 << 20);
        /// Micro-batches computed at the same time, on a thread each. The result is the same.
        /// `flex` and `ndarray` run most operations on one core; on the other backends one
        /// operation has the whole device, and micro-batches come one after the other.
        workers: usize = 1, Safe, within(1..=MAX_THREADS);
        /// Highest learning rate.
        lr: f64 = 2e-3, Experiment, above_to(0.0, 1e3);
        /// Start of the lower line of the `two-stage` schedule.
        second_lr: f64 = 1e-3, Experiment, within(0.0..=1e3);
        /// Steps over which the learning rate rises.
        warmup: u64 = 50, Experiment;
        /// `cosine`, `linear`, `constant`, `wsd` or `two-stage`.
        schedule: ScheduleKind = ScheduleKind::Cosine, Experiment;
        /// Learning rate at the end of `cosine`, `linear` and `wsd`, as a share of `lr`.
        final_lr_fraction: f64 = 0.1, Experiment, within(0.0..=1.0);
        /// Share of the steps, at the end, over which `wsd` decays.
        decay_fraction: f64 = 0.2, Experiment, within(0.0..=1.0);
        /// Steps at the beginning that train in full precision. Validations, samples and models are
        /// those of the quantised model all the same.
        quant_start: u64 = 0, Experiment;
        /// Steps after those over which the strength of the quantisation rises to all of it.
        quant_warmup: u64 = 0, Experiment;
        /// Decoupled weight decay, of matrices only.
        weight_decay: f64 = 0.1, Experiment, within(0.0..=1e3);
        /// `adamw`, or `muon`: Muon on the weights of the linears, AdamW on everything else.
        optimizer: OptimizerKind = OptimizerKind::AdamW, Experiment;
        /// Decay rate of Muon's momentum.
        muon_momentum: f64 = 0.95, Experiment, within(0.0..=0.9999);
        /// Muon's Newton–Schulz iterations.
        muon_iterations: usize = 5, Experiment, within(1..=20);
        /// Decay rates of AdamW's moments.
        betas: [f64; 2] = [0.9, 0.95], Experiment, within(0.0..1.0);
        /// AdamW's ε.
        epsilon: f64 = 1e-8, Experiment, above(0.0);
        /// Largest norm of all gradients together; 0: no clipping.
        clip: f64 = 1.0, Experiment, within(0.0..);
        /// Decay rate of a moving average of the weights, kept and validated beside them; 0: none.
        ema: f64 = 0.0, Experiment, within(0.0..=0.999999);
        /// Nats per token by which the smoothed loss may rise above its lowest before the run ends;
        /// 0: it does not end for that.
        max_rise: f64 = 0.0, Safe, within(0.0..);
        /// Steps between two lines of output.
        log_every: u64 = 20, Safe, within(1..);
    }
}

impl TrainSection {
    /// How much of the quantisation counts in step `step`, the first step being 0.
    pub fn quant_strength(&self, step: u64) -> f64 {
        match step.checked_sub(self.quant_start) {
            None => 0.0,
            Some(after) => ((after + 1) as f64 / self.quant_warmup.max(1) as f64).min(1.0),
        }
    }

    /// The decay rate of the moving average after step `step`, the first step being 0: smaller at
    /// first, so that the initial weights are soon forgotten.
    pub fn ema_decay(&self, step: u64) -> f64 {
        self.ema.min((step + 1) as f64 / (step + 10) as f64)
    }

    /// Learning rate and weight decay as functions of the step.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            kind: self.schedule,
            peak: self.lr,
            second_peak: self.second_lr,
            final_fraction: self.final_lr_fraction,
            decay_fraction: self.decay_fraction,
            warmup: self.warmup,
            steps: self.steps,
            weight_decay: self.weight_decay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_schedule_is_told_the_known_ones() {
        let read = |name: &str| toml::from_str::<TrainSection>(&format!("schedule = \"{name}\""));
        for name in ["cosine", "linear", "constant", "wsd", "two-stage"] {
            assert_eq!(serde_json::to_value(read(name).unwrap().schedule).unwrap(), name);
        }
        // The second was a schedule of earlier versions.
        for name in ["triangle", "range-test"] {
            let error = read(name).unwrap_err().to_string();
            let known = format!(
                "unknown variant `{name}`, expected one of `cosine`, `linear`, `constant`, `wsd`, \
                 `two-stage`"
            );
            assert!(error.contains(&known), "{error}");
        }
    }

    #[test]
    fn the_average_soon_forgets_its_beginning() {
        let section = TrainSection { ema: 0.9, ..TrainSection::default() };
        assert_eq!(
            [0, 8, 80, 81, 1000].map(|step| section.ema_decay(step)),
            [0.1, 0.5, 0.9, 0.9, 0.9]
        );
    }

    #[test]
    fn quantisation_starts_and_rises() {
        let strength = |quant_start, quant_warmup, step| {
            let section = TrainSection { quant_start, quant_warmup, ..TrainSection::default() };
            section.quant_strength(step)
        };
        assert_eq!(strength(0, 0, 0), 1.0);
        assert_eq!([2, 3, 4, 9].map(|step| strength(3, 0, step)), [0.0, 1.0, 1.0, 1.0]);
        let rising = [2, 3, 4, 6, 7].map(|step| strength(3, 4, step));
        assert_eq!(rising, [0.0, 0.25, 0.5, 1.0, 1.0]);
    }
}
