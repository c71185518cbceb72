//! What a run reports, to `metrics.csv` and through burn-train's events.

use std::time::Instant;

use bitnet::{
    evaluate::Evaluation,
    memory::resident_bytes,
    quant_stats::{QuantStats, by_block, total},
};
use burn::{
    data::dataloader::Progress,
    module::AutodiffModule,
    tensor::{Tensor, backend::AutodiffBackend},
};
use burn_train::{EventProcessorTraining, LearnerEvent, TrainingItem};

use super::Run;
use crate::{
    output::{Quantization, Records, Report},
    training::{learner::item::Item, state::State},
};

impl<B: AutodiffBackend> Run<'_, B> {
    /// The report of the log interval that ends with the current step.
    pub(super) fn training_report(
        &mut self,
        loss: f64,
        gradient_norm: f64,
        metrics: &mut Records,
    ) -> anyhow::Result<Report> {
        let quantization = self.measure_quantization(metrics)?;
        let State { step, tokens, seconds, interval, .. } = &self.state;
        let train = &self.setup.config.train;
        let tokens_per_second =
            (interval.steps * self.setup.tokens_per_step()) as f64 / interval.seconds;
        let tokens_left = (train.steps.saturating_sub(*step) * self.setup.tokens_per_step()) as f64;
        let seconds_left = match train.minutes {
            0.0 => f64::INFINITY,
            minutes => (60.0 * minutes - seconds).max(0.0),
        };
        Ok(Report {
            step: *step,
            tokens: *tokens,
            seconds: *seconds,
            loss,
            bits_per_byte: self.setup.text.bits_per_byte(loss),
            learning_rate: self.learner.lr_current(),
            weight_decay: train.schedule().weight_decay(step - 1),
            gradient_norm,
            tokens_per_second,
            utilization: self.setup.speed.utilization(tokens_per_second),
            resident_bytes: resident_bytes().map_or(f64::NAN, |bytes| bytes as f64),
            tokens_left,
            seconds_left: seconds_left.min(tokens_left / tokens_per_second),
            ..quantization
        })
    }

    /// Measures the quantised layers and writes down the statistics. Returns what they come to for
    /// all linears together and for each block.
    fn measure_quantization(&mut self, metrics: &mut Records) -> anyhow::Result<Report> {
        let Some(monitor) = &mut self.monitor else { return Ok(Report::EMPTY) };
        let started = Instant::now();
        let layers = monitor.measure(&self.learner.model().valid().transformer);
        let steps = self.state.interval.steps;
        metrics.instruments(self.state.step, steps, &layers)?;
        self.state.instrument_seconds += started.elapsed().as_secs_f64();
        let quantization = |stats: &QuantStats| Quantization::new(stats, steps);
        let blocks = by_block(&layers).iter().map(quantization).collect();
        let total = total(&layers).as_ref().map_or(Quantization::EMPTY, quantization);
        Ok(Report { quantization: total, blocks, ..Report::EMPTY })
    }

    /// Where the run stands, in steps.
    fn progress(&self) -> Progress {
        Progress::new(self.state.step as usize, self.setup.config.train.steps as usize)
    }

    /// Says that the next step is being done, or what else.
    pub(super) fn show_activity(&self, activity: Option<&'static str>) {
        self.setup.display.at(self.state.step, activity);
    }

    /// Shows a report, on the dashboard or as a line.
    pub(super) fn show_training(&mut self, report: Report) {
        let value = Tensor::empty([1], &self.setup.device);
        let (step, learning_rate) = (report.step as usize, report.learning_rate);
        let progress = self.progress();
        self.processor.process_train(LearnerEvent::ProcessedItem(TrainingItem::new(
            Item { value, report: Some(report) },
            progress.clone(),
            progress,
            Some(step),
            Some(learning_rate),
        )));
    }

    /// Writes down and shows a validation after the current step, of the model and, if there is
    /// one, of the moving average.
    pub(super) fn show_validation(
        &mut self,
        metrics: &mut Records,
        evaluation: Evaluation,
        averaged: Option<Evaluation>,
    ) -> anyhow::Result<()> {
        let report = Report {
            step: self.state.step,
            tokens: self.state.tokens,
            seconds: self.state.seconds,
            loss: evaluation.loss(),
            bits_per_byte: evaluation.bits_per_byte(),
            ema_loss: averaged.map_or(f64::NAN, |averaged| averaged.loss()),
            ..Report::EMPTY
        };
        metrics.validation(&report)?;
        if averaged.is_some() {
            self.setup.display.average(report.step, report.ema_loss);
        }
        let step = report.step as usize;
        self.processor.process_valid(LearnerEvent::ProcessedItem(TrainingItem::new(
            Item { value: evaluation, report: Some(report) },
            self.progress(),
            self.progress(),
            Some(step),
            None,
        )));
        // burn-train's epochs are the stretches between validations.
        let epoch = self.state.step.div_ceil(self.setup.config.eval.every) as usize;
        self.processor.process_train(LearnerEvent::EndEpoch(epoch));
        self.processor.process_valid(LearnerEvent::EndEpoch(epoch));
        Ok(())
    }
}
