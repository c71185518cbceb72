use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// The form of a [`Schedule`] after its warmup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Half a cosine, from the peak to the final rate.
    #[default]
    Cosine,
    /// A straight line, from the peak to the final rate.
    Linear,
    /// The peak throughout.
    Constant,
    /// Warmup, stable, decay (arXiv 2404.06395): the peak, then over the last `decay_fraction` of
    /// the steps a fall to the final rate as 1 − √progress (arXiv 2405.18392).
    Wsd,
    /// The b1.58 recipe (training tips): a straight line to zero from the peak; at half time a
    /// drop onto the line to zero from `second_peak`, and no weight decay from there on.
    TwoStage,
}

/// Learning rate and weight decay of every step, as pure functions of the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The form after the warmup.
    pub kind: ScheduleKind,
    /// Highest learning rate.
    pub peak: f64,
    /// Start of the lower line of [`ScheduleKind::TwoStage`].
    pub second_peak: f64,
    /// Learning rate after the last step of cosine, linear and WSD, as a share of the peak.
    pub final_fraction: f64,
    /// Share of all steps, at the end, over which [`ScheduleKind::Wsd`] decays.
    pub decay_fraction: f64,
    /// Steps over which the rate rises from zero.
    pub warmup: u64,
    /// Steps of the whole training.
    pub steps: u64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
}

impl Schedule {
    /// The learning rate of step `step`, the first step being 0. Past the end it stays where it
    /// ended.
    pub fn learning_rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let length = self.steps.saturating_sub(self.warmup).max(1);
        let progress = ((step - self.warmup) as f64 / length as f64).min(1.0);
        let fall =
            |share: f64| self.peak * (self.final_fraction + (1.0 - self.final_fraction) * share);
        match self.kind {
            ScheduleKind::Constant => self.peak,
            ScheduleKind::Linear => fall(1.0 - progress),
            ScheduleKind::Cosine => fall(0.5 * (1.0 + (PI * progress).cos())),
            ScheduleKind::Wsd => {
                let decay = (self.steps as f64 * self.decay_fraction).round().max(1.0);
                let left = self.steps.saturating_sub(step) as f64;
                fall(1.0 - (1.0 - left / decay).max(0.0).sqrt())
            }
            ScheduleKind::TwoStage if self.in_second_stage(step) => {
                self.second_peak * (1.0 - progress)
            }
            ScheduleKind::TwoStage => self.peak * (1.0 - progress),
        }
    }

    /// The weight decay of step `step`.
    pub fn weight_decay(&self, step: u64) -> f64 {
        if self.kind == ScheduleKind::TwoStage && self.in_second_stage(step) {
            0.0
        } else {
            self.weight_decay
        }
    }

    fn in_second_stage(&self, step: u64) -> bool {
        step >= self.steps / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind) -> Schedule {
        Schedule {
            kind,
            peak: 1.0,
            second_peak: 0.5,
            final_fraction: 0.1,
            decay_fraction: 0.2,
            warmup: 10,
            steps: 110,
            weight_decay: 0.1,
        }
    }

    #[track_caller]
    fn assert_close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-12, "{actual} instead of {expected}");
    }

    #[test]
    fn warmup_rises_in_equal_steps() {
        let schedule = schedule(ScheduleKind::Cosine);
        assert_close(schedule.learning_rate(0), 0.1);
        assert_close(schedule.learning_rate(9), 1.0);
        assert_close(schedule.learning_rate(10), 1.0);
    }

    #[test]
    fn cosine_by_hand_and_it_never_comes_back() {
        let schedule = schedule(ScheduleKind::Cosine);
        assert_close(schedule.learning_rate(60), 0.1 + 0.9 * 0.5);
        assert_close(schedule.learning_rate(35), 0.1 + 0.45 * (1.0 + (PI / 4.0).cos()));
        // Burn's own cosine is back at its peak on the step after the last.
        for step in 110..400 {
            assert_close(schedule.learning_rate(step), 0.1);
        }
        for step in 10..300 {
            assert!(schedule.learning_rate(step + 1) <= schedule.learning_rate(step));
        }
    }

    #[test]
    fn linear_and_constant_by_hand() {
        assert_close(schedule(ScheduleKind::Linear).learning_rate(60), 0.1 + 0.9 * 0.5);
        assert_close(schedule(ScheduleKind::Linear).learning_rate(999), 0.1);
        assert_close(schedule(ScheduleKind::Constant).learning_rate(999), 1.0);
    }

    #[test]
    fn two_stages_are_two_full_lines_with_a_drop_between() {
        let schedule = schedule(ScheduleKind::TwoStage);
        assert_close(schedule.learning_rate(30), 0.8);
        assert_close(schedule.learning_rate(54), 0.56);
        assert_close(schedule.learning_rate(55), 0.5 * 0.55);
        assert_close(schedule.learning_rate(85), 0.5 * 0.25);
        assert_close(schedule.learning_rate(110), 0.0);
        assert_close(schedule.weight_decay(54), 0.1);
        assert_close(schedule.weight_decay(55), 0.0);
    }

    #[test]
    fn wsd_stays_at_its_peak_and_falls_at_the_end() {
        // 110 steps, of which the last 22 fall.
        let schedule = schedule(ScheduleKind::Wsd);
        for step in 10..=88 {
            assert_close(schedule.learning_rate(step), 1.0);
        }
        // A quarter of the way: half of the fall from 1 to 0.1.
        assert_close(Schedule { steps: 120, ..schedule }.learning_rate(102), 0.1 + 0.9 * 0.5);
        assert_close(schedule.learning_rate(99), 0.1 + 0.9 * (1.0 - 0.5f64.sqrt()));
        assert_close(schedule.learning_rate(110), 0.1);
        assert_close(schedule.learning_rate(500), 0.1);
        let all = Schedule { decay_fraction: 0.0, ..schedule };
        assert_close(all.learning_rate(109), 1.0);
        assert_close(all.learning_rate(110), 0.1);
    }

    #[test]
    fn degenerate_lengths_stay_finite() {
        use ScheduleKind::{Cosine, Linear, TwoStage, Wsd};
        for kind in [Cosine, Linear, Wsd, TwoStage] {
            for (warmup, steps) in [(0, 0), (0, 1), (5, 3)] {
                let schedule = Schedule { warmup, steps, ..schedule(kind) };
                assert!((0..20).all(|step| schedule.learning_rate(step).is_finite()));
            }
        }
    }
}
