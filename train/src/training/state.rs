use serde::{Deserialize, Serialize};

use super::learner::scheduler::Rates;
use crate::{config::Config, output::Lengths};

/// Where a run stands: everything beside model and optimiser that the next step depends on.
///
/// There is no state of a random generator, since batches and samples are pure functions of the
/// seed and a number; and none of the schedule, which is one of the step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Optimiser steps done.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Data position: the micro-batches taken, which are numbered.
    pub batches: u64,
    /// Seconds spent in training steps.
    pub seconds: f64,
    /// Length of `metrics.csv`. What follows was written later, and is cut off on resume.
    pub metrics_bytes: u64,
    /// The same of `instruments.csv`.
    #[serde(default)]
    pub instruments_bytes: u64,
    /// Seconds spent beside the steps in measuring the quantised layers.
    #[serde(default)]
    pub instrument_seconds: f64,
    /// Which learning rates its steps have.
    #[serde(default)]
    pub rates: Rates,
    /// SHA-256 of the tokens, with the lengths of the two parts.
    pub text: String,
    /// SHA-256 of the teacher.
    pub teacher: Option<String>,
    /// Tokens of the vocabulary.
    #[serde(default = "bytes")]
    pub vocabulary: usize,
    /// The steps since the last log line.
    pub interval: IntervalState,
    /// Validations in a row without a new lowest loss.
    pub unimproved: u64,
    /// The last validation.
    pub validated: Option<Validated>,
    /// The one with the lowest loss.
    pub best: Option<Validated>,
    /// Of the losses of the log lines.
    pub trend: Trend,
}

/// Share of the losses before in a smoothed loss.
const SMOOTHING: f64 = 0.9;

/// A moving average, freed of the weight of its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trend {
    sum: f64,
    weight: f64,
    lowest: Option<f64>,
}

impl Trend {
    /// Adds a loss.
    pub fn add(&mut self, loss: f64) {
        self.sum = SMOOTHING * self.sum + (1.0 - SMOOTHING) * loss;
        self.weight = SMOOTHING * self.weight + (1.0 - SMOOTHING);
        let smoothed = self.sum / self.weight;
        self.lowest = Some(self.lowest.map_or(smoothed, |lowest| lowest.min(smoothed)));
    }

    /// How far it is above its lowest.
    pub fn rise(&self) -> f64 {
        self.lowest.map_or(0.0, |lowest| self.sum / self.weight - lowest)
    }
}

/// The vocabulary of checkpoints that do not say theirs.
fn bytes() -> usize {
    256
}

/// Sums since the last log line.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntervalState {
    /// Sum of the losses, as f32 on the device.
    pub loss: f32,
    /// Steps.
    pub steps: u64,
    /// Seconds.
    pub seconds: f64,
}

/// A validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validated {
    /// Optimiser steps done before it.
    pub step: u64,
    /// Its loss, in nats per token.
    pub loss: f64,
}

/// Why a run is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// All steps are done.
    Steps,
    /// Its time is up.
    Minutes,
    /// The validation loss stopped falling.
    Patience,
    /// The training loss rose.
    Rise,
}

impl State {
    /// Lengths of the tables.
    pub fn lengths(&self) -> Lengths {
        Lengths { metrics: self.metrics_bytes, instruments: self.instruments_bytes }
    }

    /// Whether the validation after the current step is still to be done.
    pub fn validation_due(&self, every: u64) -> bool {
        self.step > 0
            && self.step.is_multiple_of(every)
            && self.validated.is_none_or(|last| last.step != self.step)
    }

    /// Takes down a validation after the current step. Returns whether its loss is the lowest yet.
    pub fn record_validation(&mut self, loss: f64) -> bool {
        let validated = Validated { step: self.step, loss };
        let improved = self.best.is_none_or(|best| loss < best.loss);
        self.validated = Some(validated);
        if improved {
            self.best = Some(validated);
            self.unimproved = 0;
        } else {
            self.unimproved += 1;
        }
        improved
    }

    /// Why the run is at its end, if it is.
    pub fn end(&self, config: &Config) -> Option<End> {
        let Config { train, eval, .. } = config;
        if self.step >= train.steps {
            Some(End::Steps)
        } else if eval.patience > 0 && self.unimproved >= eval.patience {
            Some(End::Patience)
        } else if train.max_rise > 0.0 && self.trend.rise() > train.max_rise {
            Some(End::Rise)
        } else if train.minutes > 0.0 && self.seconds >= 60.0 * train.minutes {
            Some(End::Minutes)
        } else {
            None
        }
    }
}

impl End {
    /// In words, and what makes the run go on.
    pub fn describe(self, config: &Config) -> String {
        match self {
            Self::Steps => {
                format!("all {0} of {0} steps done; raise train.steps", config.train.steps)
            }
            Self::Minutes => {
                format!("{} minutes are up; raise train.minutes", config.train.minutes)
            }
            Self::Rise => format!(
                "the loss rose by more than {}; raise train.max_rise",
                config.train.max_rise
            ),
            Self::Patience => format!(
                "no lower validation loss in {} validations; raise eval.patience",
                config.eval.patience
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validations_improve_or_use_up_the_patience() {
        let mut config = Config::default();
        config.eval.patience = 2;
        let mut state = State { step: 4, ..State::default() };
        assert!(state.validation_due(4) && !state.validation_due(3));
        assert!(state.record_validation(2.0));
        assert!(!state.validation_due(4));
        for (step, loss, improves, ends) in
            [(8, 2.5, false, None), (12, 1.5, true, None), (16, 1.5, false, None)]
        {
            state.step = step;
            assert_eq!(state.record_validation(loss), improves);
            assert_eq!(state.end(&config), ends);
        }
        state.step = 20;
        assert!(!state.record_validation(1.6));
        assert_eq!(state.end(&config), Some(End::Patience));
        assert_eq!(state.best, Some(Validated { step: 12, loss: 1.5 }));
    }

    #[test]
    fn steps_and_minutes_end_a_run() {
        let mut config = Config::default();
        config.train.steps = 5;
        config.train.minutes = 0.5;
        let state = |step, seconds| State { step, seconds, ..State::default() };
        assert_eq!(state(4, 29.9).end(&config), None);
        assert_eq!(state(4, 30.0).end(&config), Some(End::Minutes));
        assert_eq!(state(5, 30.0).end(&config), Some(End::Steps));
    }

    #[test]
    fn a_rising_loss_ends_a_run_where_asked() {
        let mut config = Config::default();
        let mut state = State::default();
        assert_eq!(state.trend.rise(), 0.0);
        // The average of 2 and 1: weights 0.09 and 0.1. Then 9 joins, with 0.1.
        [2.0, 1.0, 9.0].into_iter().for_each(|loss| state.trend.add(loss));
        let before = (0.09 * 2.0 + 0.1) / 0.19;
        let after = (0.081 * 2.0 + 0.09 + 0.9) / 0.271;
        assert!((state.trend.rise() - (after - before)).abs() < 1e-12);
        assert_eq!(state.end(&config), None);
        config.train.max_rise = 2.7;
        assert_eq!(state.end(&config), Some(End::Rise));
        config.train.max_rise = 2.8;
        assert_eq!(state.end(&config), None);
    }

    #[test]
    fn every_number_reads_back_to_the_bit() {
        for n in 1..2000u32 {
            let loss = f32::from_bits(0x3f80_0000 + n * 7919);
            let value = f64::from_bits(0x3ff0_0000_0000_0000 + u64::from(n) * 0x1234_5678_9abd);
            let state = State {
                seconds: value,
                interval: IntervalState { loss, steps: 1, seconds: value },
                best: Some(Validated { step: 1, loss: value }),
                ..State::default()
            };
            let text = toml::to_string(&state).unwrap();
            assert_eq!(toml::from_str::<State>(&text).unwrap(), state);
        }
    }
}
