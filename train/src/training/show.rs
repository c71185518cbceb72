//! What a run reports, to `metrics.csv` and through burn-train's events.

use bitnet::evaluate::Evaluation;
use burn::{
    data::dataloader::Progress,
    tensor::{Tensor, backend::AutodiffBackend},
};
use burn_train::{EventProcessorTraining, LearnerEvent, TrainingItem};

use super::{item::Item, state::State, strategy::Run};
use crate::{
    config::Config,
    output::{MetricsCsv, Report},
};

impl<B: AutodiffBackend> Run<'_, B> {
    /// The report of the log interval that ends with the current step.
    pub(super) fn training_report(&self, loss: f64, gradient_norm: f64) -> Report {
        let State { step, tokens, seconds, interval, .. } = &self.state;
        let train = &self.strategy.config.train;
        Report {
            step: *step,
            tokens: *tokens,
            seconds: *seconds,
            loss,
            bits_per_byte: self.strategy.text.bits_per_byte(loss),
            learning_rate: self.learner.lr_current(),
            weight_decay: train.schedule().weight_decay(step - 1),
            gradient_norm,
            tokens_per_second: (interval.steps * self.tokens_per_step()) as f64 / interval.seconds,
        }
    }

    /// Where the run stands, in validation intervals: what burn-train calls epochs.
    fn epochs(&self) -> Progress {
        let Config { train, eval, .. } = &self.strategy.config;
        let total = train.steps.div_ceil(eval.every);
        Progress::new(self.state.step.div_ceil(eval.every) as usize, total as usize)
    }

    /// Shows a report, on the dashboard or as a line.
    pub(super) fn show_training(&mut self, report: Report, progress: Progress) {
        let value = Tensor::empty([1], &self.strategy.device);
        let epochs = self.epochs();
        self.processor.process_train(LearnerEvent::ProcessedItem(TrainingItem::new(
            Item { value, report: Some(report) },
            progress,
            epochs,
            Some(report.step as usize),
            Some(report.learning_rate),
        )));
    }

    /// Writes down and shows a validation after the current step.
    pub(super) fn show_validation(
        &mut self,
        metrics: &mut MetricsCsv,
        evaluation: Evaluation,
    ) -> anyhow::Result<()> {
        let report = Report {
            step: self.state.step,
            tokens: self.state.tokens,
            seconds: self.state.seconds,
            loss: evaluation.loss(),
            bits_per_byte: evaluation.bits_per_byte(),
            ..Report::EMPTY
        };
        metrics.validation(&report)?;
        let epochs = self.epochs();
        self.processor.process_valid(LearnerEvent::ProcessedItem(TrainingItem::new(
            Item { value: evaluation, report: Some(report) },
            Progress::new(1, 1),
            epochs.clone(),
            Some(report.step as usize),
            None,
        )));
        self.processor.process_train(LearnerEvent::EndEpoch(epochs.items_processed));
        self.processor.process_valid(LearnerEvent::EndEpoch(epochs.items_processed));
        Ok(())
    }
}
