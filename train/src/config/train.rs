use bitnet::optim::{Schedule, ScheduleKind};
use serde::{Deserialize, Serialize};

use super::OptimizerKind;

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSection {
    /// Optimiser steps. This, or one of the three budgets below, says how long the run is.
    pub steps: u64,
    /// Instead of `steps`: tokens to train on.
    pub tokens: Option<u64>,
    /// Instead of `steps`: as many tokens as this many passes over the training part have.
    pub epochs: Option<f64>,
    /// Instead of `steps`: tokens to train on for each parameter of the model.
    pub tokens_per_parameter: Option<f64>,
    /// Minutes of training after which the run ends although steps are left; 0: no limit.
    pub minutes: f64,
    /// Model whose weights the run begins with, of any form that `infer` reads, or a folder of a
    /// full-precision LLaMA or Qwen3. Default: none.
    pub init_from: Option<String>,
    /// Begin with gains of one where that model has no norm before output and down projections.
    pub insert_sub_norms: bool,
    /// Windows of a micro-batch.
    pub batch: usize,
    /// Micro-batches of a step; their gradients are averaged.
    pub accumulation: usize,
    /// Micro-batches computed at the same time, on a thread each. The result is the same. `flex`
    /// and `ndarray` run most operations on one core; on the other backends one operation has the
    /// whole device, and micro-batches come one after the other.
    pub workers: usize,
    /// Highest learning rate.
    pub lr: f64,
    /// Start of the lower line of the `two-stage` schedule.
    pub second_lr: f64,
    /// Steps over which the learning rate rises.
    pub warmup: u64,
    /// `cosine`, `linear`, `constant`, `wsd` or `two-stage`.
    pub schedule: ScheduleKind,
    /// Learning rate at the end of `cosine`, `linear` and `wsd`, as a share of `lr`.
    pub final_lr_fraction: f64,
    /// Share of the steps, at the end, over which `wsd` decays.
    pub decay_fraction: f64,
    /// Steps at the beginning that train in full precision. Validations, samples and models are
    /// those of the quantised model all the same.
    pub quant_start: u64,
    /// Steps after those over which the strength of the quantisation rises to all of it.
    pub quant_warmup: u64,
    /// Decoupled weight decay, of matrices only.
    pub weight_decay: f64,
    /// `adamw`, or `muon`: Muon on the weights of the linears, AdamW on everything else.
    pub optimizer: OptimizerKind,
    /// Decay rate of Muon's momentum.
    pub muon_momentum: f64,
    /// Muon's Newton–Schulz iterations.
    pub muon_iterations: usize,
    /// Decay rates of AdamW's moments.
    pub betas: [f64; 2],
    /// AdamW's ε.
    pub epsilon: f64,
    /// Largest norm of all gradients together; 0: no clipping.
    pub clip: f64,
    /// Decay rate of a moving average of the weights, kept and validated beside them; 0: none.
    pub ema: f64,
    /// Nats a token by which the smoothed loss may rise above its lowest before the run ends; 0:
    /// it does not end for that.
    pub max_rise: f64,
    /// Steps between two lines of output.
    pub log_every: u64,
}

impl Default for TrainSection {
    fn default() -> Self {
        Self {
            steps: 1000,
            tokens: None,
            epochs: None,
            tokens_per_parameter: None,
            minutes: 0.0,
            init_from: None,
            insert_sub_norms: false,
            batch: 16,
            accumulation: 1,
            workers: 1,
            lr: 2e-3,
            second_lr: 1e-3,
            warmup: 50,
            schedule: ScheduleKind::Cosine,
            final_lr_fraction: 0.1,
            decay_fraction: 0.2,
            quant_start: 0,
            quant_warmup: 0,
            weight_decay: 0.1,
            optimizer: OptimizerKind::AdamW,
            muon_momentum: 0.95,
            muon_iterations: 5,
            betas: [0.9, 0.95],
            epsilon: 1e-8,
            clip: 1.0,
            ema: 0.0,
            max_rise: 0.0,
            log_every: 20,
        }
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
