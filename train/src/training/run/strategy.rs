use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, ensure};
use bitnet::{evaluate::Evaluation, optim::moving_average, pretrained::FloatModel};
use burn::{
    data::dataloader::{DataLoader, DataLoaderIterator},
    module::AutodiffModule,
    tensor::backend::AutodiffBackend,
};
use burn_train::{
    Learner, SupervisedLearningStrategy, TrainLoader, TrainingComponents, ValidLoader,
};

use super::{
    Processor, Run,
    interval::Interval,
    quant_monitor::QuantMonitor,
    setup::Setup,
    validation::{evaluate, evaluate_if_any, sample},
};
use crate::{
    config::Config,
    output::Records,
    training::{
        learner::{
            Components,
            model::{LanguageModel, MicroBatch, ValidationBatch},
        },
        outcome::{ModelSize, Outcome},
        state::{End, IntervalState, State},
        step::{Step, StepResult},
    },
};

type Validation<B> = dyn DataLoader<<B as AutodiffBackend>::InnerBackend, ValidationBatch>;

/// How a session ended.
pub struct Finished {
    /// Where the run stands.
    pub state: State,
    /// How it ended, unless the session was interrupted.
    pub outcome: Option<Outcome>,
}

/// The training loop, counted in optimiser steps: accumulate, clip, step, and at their intervals
/// log, validate, sample and save.
///
/// burn-train's own loop counts epochs, steps the learning rate for each micro-batch, and clips
/// tensor by tensor; it calls this one in its place.
///
/// What is written down after a step is a function of the step and of [`State`] alone, never of
/// where a session began or was interrupted: so a resumed run leaves what an uninterrupted one
/// does.
pub struct StepStrategy<B: AutodiffBackend> {
    /// What stays the same.
    pub setup: Setup<B>,
    /// The moving average of the weights as the loop begins, if there is one.
    pub average: Option<LanguageModel<B::InnerBackend>>,
    /// Where the loop begins.
    pub state: State,
    /// The codes of the weights at the log line before that.
    pub codes: Option<Vec<u8>>,
    /// Takes the result, for which burn-train has no place.
    pub finished: Arc<Mutex<Option<anyhow::Result<Finished>>>>,
}

impl<B: AutodiffBackend> SupervisedLearningStrategy<Components<B>> for StepStrategy<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        learner: Learner<Components<B>>,
        training: TrainLoader<Components<B>>,
        validation: ValidLoader<Components<B>>,
        _starting_epoch: usize,
    ) -> (LanguageModel<B>, Processor<B>) {
        let mut run = Run {
            setup: &self.setup,
            state: self.state.clone(),
            monitor: QuantMonitor::new(
                &self.setup,
                self.codes.as_deref(),
                &learner.model().valid().transformer,
            ),
            average: self.average.clone(),
            learner,
            processor: components.event_processor,
            interrupter: components.interrupter,
            saved: (self.state.step, Instant::now()),
        };
        let result = run.run(&mut *training.iter(), validation.as_ref());
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        (run.learner.model(), run.processor)
    }
}

impl<B: AutodiffBackend> Run<'_, B> {
    fn run(
        &mut self,
        batches: &mut dyn DataLoaderIterator<MicroBatch<B>>,
        validation: &Validation<B>,
    ) -> anyhow::Result<Finished> {
        let Config { train, eval, .. } = &self.setup.config;
        let mut metrics = Records::open(&self.setup.folder, self.state.step + 1)?;
        let mut interval = Interval::<B>::new(self.state.interval, &self.setup.device);
        // Asked once a step: the clock, or the user, may say something else a moment later.
        let (mut stopping, mut save_due) = (false, false);

        let end = loop {
            // The validation of the last step is another one: it comes below.
            let is_last = self.state.step >= train.steps;
            if !stopping && !is_last && self.state.validation_due(eval.every) {
                stopping = !self.validate(validation, &mut metrics)?;
            }
            let end = self.state.end(&self.setup.config);
            if end.is_some() || stopping {
                break end;
            }
            if save_due && self.saved.0 != self.state.step {
                self.save(&mut metrics)?;
            }

            self.show_activity(None);
            let started = Instant::now();
            interval.add(self.step(batches));
            self.setup.text.check()?;
            self.state.step += 1;
            self.state.batches += train.accumulation as u64;
            self.state.tokens += self.setup.tokens_per_step();
            self.state.interval.steps += 1;

            let step = self.state.step;
            stopping = self.interrupter.should_stop()
                || self.setup.stop_at.is_some_and(|last| step >= last);
            let log = step.is_multiple_of(train.log_every) || step == train.steps;
            save_due = self.checkpoint_due();
            let may_end = stopping || train.minutes > 0.0;
            let check = log || step.is_multiple_of(eval.every) || save_due || may_end;
            // Reading a loss waits for the device: only then is the time that of the steps.
            let losses = check.then(|| interval.read());
            let elapsed = started.elapsed().as_secs_f64();
            self.state.interval.seconds += elapsed;
            self.state.seconds += elapsed;

            let Some((sum, gradient_norm)) = losses else { continue };
            self.state.interval.loss = sum;
            let loss = f64::from(sum) / self.state.interval.steps as f64;
            ensure!(
                loss.is_finite() && gradient_norm.is_finite(),
                "the loss or its gradient is no longer finite (loss {loss}, gradient norm {gradient_norm}, within \
                 the last {} steps before step {step}); a lower train.lr may help",
                self.state.interval.steps,
            );
            if log {
                self.state.trend.add(loss);
                let report = self.training_report(loss, gradient_norm, &mut metrics)?;
                metrics.training(&report)?;
                self.show_training(report);
                self.state.interval = IntervalState::default();
                interval = Interval::new(self.state.interval, &self.setup.device);
            }
        };

        if self.saved.0 != self.state.step {
            self.save(&mut metrics)?;
        }
        let outcome = match end {
            Some(end) => self.finish(end, &mut metrics)?,
            None => None,
        };
        Ok(Finished { state: self.state.clone(), outcome })
    }

    /// Validates and samples after the current step, and saves a new lowest loss. Returns `false`,
    /// and leaves no trace, if it was interrupted.
    fn validate(&mut self, windows: &Validation<B>, metrics: &mut Records) -> anyhow::Result<bool> {
        self.show_activity(Some("validating"));
        let model = self.learner.model().valid();
        let Some(evaluation) = evaluate(&model, windows, &self.interrupter) else {
            return Ok(false);
        };
        self.check_validation(evaluation)?;
        let average = self.average.as_ref();
        let Some(averaged) = evaluate_if_any(average, windows, &self.interrupter) else {
            return Ok(false);
        };
        if !self.sample(&model, metrics)? {
            return Ok(false);
        }
        self.show_validation(metrics, evaluation, averaged)?;
        self.record(evaluation, metrics)?;
        Ok(true)
    }

    /// Takes down a validation, and saves a new lowest loss.
    fn record(&mut self, evaluation: Evaluation, metrics: &mut Records) -> anyhow::Result<()> {
        let improved = self.state.record_validation(evaluation.loss());
        if improved && self.setup.config.checkpoint.keep_best > 0 {
            // The model first: killed in between, a resumed run comes here once more.
            self.export(&self.setup.folder.best())?;
            self.save(metrics)?;
        }
        Ok(())
    }

    /// The work after the last step: the final validation, the sample, and the
    /// comparison with the exported model. `None` if it was interrupted; a resumed run does it
    /// then.
    fn finish(&mut self, end: End, metrics: &mut Records) -> anyhow::Result<Option<Outcome>> {
        let Setup { config, folder, final_validation, device, .. } = self.setup;
        self.show_activity(Some("the last validation"));
        let model = self.learner.model().valid();
        let windows = final_validation.as_ref();
        let Some(trained) = evaluate(&model, windows, &self.interrupter) else { return Ok(None) };
        self.check_validation(trained)?;
        let average = self.average.as_ref();
        let Some(averaged) = evaluate_if_any(average, windows, &self.interrupter) else {
            return Ok(None);
        };
        // Where the other validations have as many windows, this is one of them, and may be done.
        let is_regular = config.eval.windows == config.eval.final_windows;
        let is_done = is_regular && self.state.validated.is_some_and(|v| v.step == self.state.step);
        if !is_done {
            if !self.sample(&model, metrics)? {
                return Ok(None);
            }
            self.show_validation(metrics, trained, averaged)?;
            if is_regular && self.state.validation_due(config.eval.every) {
                self.record(trained, metrics)?;
            }
        }

        self.export(&folder.model())?;
        let exported = FloatModel::<B::InnerBackend>::load(&folder.model(), device)
            .context("the exported model cannot be read back")?;
        let precision = config.backend.precision;
        let exported = LanguageModel::new(exported.model.with_precision(precision));
        let Some(exported) = evaluate(&exported, windows, &self.interrupter) else {
            return Ok(None);
        };
        metrics.sync()?;
        let size = ModelSize::new(model.transformer.config(), config.checkpoint.dtype);
        let outcome =
            Outcome::new(end, &self.state, size, trained, exported, averaged, &self.setup.speed);
        folder.save_result(&serde_json::to_vec_pretty(&outcome)?)?;
        Ok(Some(outcome))
    }

    /// One optimiser step. Returns the mean loss and the norm of the gradient.
    fn step(&mut self, batches: &mut dyn DataLoaderIterator<MicroBatch<B>>) -> StepResult<B> {
        let train = &self.setup.config.train;
        let step = Step {
            workers: &self.setup.workers,
            clip: train.clip,
            quant_strength: train.quant_strength(self.state.step),
            device: &self.setup.device,
        };
        let result = step.take(&mut self.learner, batches.take(train.accumulation).collect());
        self.average = self.average.take().map(|average| {
            moving_average(average, &self.learner.model().valid(), train.ema_decay(self.state.step))
        });
        result
    }

    fn check_validation(&self, evaluation: Evaluation) -> anyhow::Result<()> {
        self.setup.text.check()?;
        let step = self.state.step;
        ensure!(evaluation.loss().is_finite(), "the validation loss of step {step} is not finite");
        Ok(())
    }

    /// Writes and shows the sample of the current step. Returns `false`, and writes nothing, if it
    /// was interrupted.
    fn sample(
        &self,
        model: &LanguageModel<B::InnerBackend>,
        metrics: &mut Records,
    ) -> anyhow::Result<bool> {
        let Setup { config, text, folder, display, .. } = self.setup;
        let (step, every) = (self.state.step, config.sample.every);
        let due = every == 0 || step.is_multiple_of(every) || step == config.train.steps;
        if config.sample.tokens == 0 || !due {
            return Ok(true);
        }
        let Some(text) = sample(model, text, config, &self.interrupter)? else {
            return Ok(false);
        };
        folder.save_sample(step, &text)?;
        metrics.sample(step, &text)?;
        display.sample(step, &text);
        Ok(true)
    }
}
