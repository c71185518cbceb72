use bitnet::optim::Schedule;
use burn::{lr_scheduler::LrScheduler, tensor::backend::Backend};
use serde::{Deserialize, Serialize};

use crate::config::TrainSection;

/// Which learning rates the steps of a run have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rates {
    /// Those of `train.schedule`.
    #[default]
    Schedule,
    /// Those of a range test (arXiv 1506.01186), which `train lr-find` makes: from
    /// `train.second_lr` up to `train.lr`, by the same factor each step.
    RangeTest,
}

/// Hands the learning rates of a run to burn-train's learner.
#[derive(Clone)]
pub struct StepScheduler {
    rates: Rates,
    schedule: Schedule,
    next: u64,
}

impl StepScheduler {
    /// A scheduler whose next step is `next`.
    pub fn new(rates: Rates, section: &TrainSection, next: u64) -> Self {
        Self { rates, schedule: section.schedule(), next }
    }

    /// The learning rate of step `step`, the first step being 0.
    fn learning_rate(&self, step: u64) -> f64 {
        match self.rates {
            Rates::Schedule => self.schedule.learning_rate(step),
            Rates::RangeTest => {
                let Schedule { peak, second_peak, steps, .. } = self.schedule;
                let progress = (step as f64 / steps.max(1) as f64).min(1.0);
                second_peak * (peak / second_peak).powf(progress)
            }
        }
    }
}

impl LrScheduler for StepScheduler {
    /// The next step.
    type Record<B: Backend> = u64;

    fn step(&mut self) -> f64 {
        let lr = self.learning_rate(self.next);
        self.next += 1;
        lr
    }

    fn to_record<B: Backend>(&self) -> u64 {
        self.next
    }

    fn load_record<B: Backend>(self, record: u64) -> Self {
        Self { next: record, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_test_rises_by_equal_factors() {
        let section =
            TrainSection { lr: 1.0, second_lr: 0.01, steps: 100, ..TrainSection::default() };
        let rate = |step| StepScheduler::new(Rates::RangeTest, &section, step).step();
        for (step, expected) in [(0, 0.01), (50, 0.1), (100, 1.0), (500, 1.0)] {
            assert!((rate(step) - expected).abs() < 1e-12, "{} in step {step}", rate(step));
        }
        let schedule = section.schedule();
        let mut scheduler = StepScheduler::new(Rates::Schedule, &section, 7);
        assert_eq!([scheduler.step(), scheduler.step()], [7, 8].map(|s| schedule.learning_rate(s)));
    }
}
