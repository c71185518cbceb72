use bitnet::optim::Schedule;
use burn::{lr_scheduler::LrScheduler, tensor::backend::Backend};

/// Feeds a [`Schedule`] to burn-train's learner.
#[derive(Clone)]
pub struct StepScheduler {
    schedule: Schedule,
    next: u64,
}

impl StepScheduler {
    /// A scheduler whose next step is `next`.
    pub fn new(schedule: Schedule, next: u64) -> Self {
        Self { schedule, next }
    }
}

impl LrScheduler for StepScheduler {
    /// The next step.
    type Record<B: Backend> = u64;

    fn step(&mut self) -> f64 {
        let lr = self.schedule.learning_rate(self.next);
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
