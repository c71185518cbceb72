use std::{
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::ensure;
use bitnet::{evaluate::Evaluation, generate::Generation, optim::clip_global_norm, pretrained};
use burn::{
    data::dataloader::{DataLoader, DataLoaderIterator, Progress},
    module::{AutodiffModule, Module},
    optim::{GradientsAccumulator, GradientsParams, Optimizer},
    tensor::{ElementConversion, Tensor, backend::AutodiffBackend},
};
use burn_train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent,
    SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader, TrainOutput,
    TrainStep, TrainingComponents, TrainingItem, ValidLoader,
};

use super::{
    checkpoint::{Checkpoint, State},
    item::Item,
    loaders::ValidationLoader,
    model::{LanguageModel, MicroBatch},
    session::{Components, RunOptimizer},
    text::Text,
};
use crate::{
    config::Config,
    output::{MetricsCsv, PlainPrinter, Report},
    run_folder::RunFolder,
};

type Processor<B> = SupervisedTrainingEventProcessor<Components<B>>;

/// How a run ended.
pub struct Finished {
    /// Where it stands.
    pub state: State,
    /// Its loss on the whole validation part, unless it was interrupted.
    pub evaluation: Option<Evaluation>,
    /// Whether it was stopped before its last step.
    pub interrupted: bool,
}

/// The training loop, counted in optimiser steps: accumulate, clip, step, and at their intervals
/// log, validate, sample and save.
///
/// burn-train's own loop counts epochs, steps the learning rate for each micro-batch, and clips
/// tensor by tensor; it calls this one in its place.
pub struct StepStrategy<B: AutodiffBackend> {
    pub config: Config,
    pub text: Arc<Text>,
    pub folder: RunFolder,
    /// The learner's optimiser, whose state the checkpoints hold.
    pub optimizer: RunOptimizer<B>,
    /// Where the loop begins.
    pub state: State,
    /// All windows of the validation part.
    pub whole_validation: Arc<ValidationLoader>,
    /// Prints samples, where there is no dashboard.
    pub printer: Option<PlainPrinter>,
    pub device: B::Device,
    /// Takes the result, for which burn-train has no place.
    pub finished: Arc<Mutex<Option<anyhow::Result<Finished>>>>,
}

impl<B: AutodiffBackend> SupervisedLearningStrategy<Components<B>> for StepStrategy<B> {
    fn fit(
        &self,
        components: TrainingComponents<Components<B>>,
        mut learner: Learner<Components<B>>,
        training: TrainLoader<Components<B>>,
        validation: ValidLoader<Components<B>>,
        _starting_epoch: usize,
    ) -> (LanguageModel<B>, Processor<B>) {
        let mut processor = components.event_processor;
        let result = self.run(
            &mut learner,
            &mut *training.iter(),
            validation.as_ref(),
            &mut processor,
            &components.interrupter,
        );
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        (learner.model(), processor)
    }
}

impl<B: AutodiffBackend> StepStrategy<B> {
    fn run(
        &self,
        learner: &mut Learner<Components<B>>,
        batches: &mut dyn DataLoaderIterator<MicroBatch<B>>,
        validation: &dyn DataLoader<B::InnerBackend, <LanguageModel<B::InnerBackend> as InferenceStep>::Input>,
        processor: &mut Processor<B>,
        interrupter: &Interrupter,
    ) -> anyhow::Result<Finished> {
        let Config { train, eval, checkpoint, .. } = &self.config;
        let mut metrics = MetricsCsv::open(&self.folder.metrics(), self.state.step)?;
        let mut state = self.state;
        let mut interval = Interval::new(&self.device);
        let mut saved = state.step;

        while state.step < train.steps && !interrupter.should_stop() {
            let started = Instant::now();
            interval.add(self.step(learner, batches));
            state.step += 1;
            state.tokens += self.tokens_per_step();

            let ended = state.step == train.steps || interrupter.should_stop();
            let due = |every: u64| ended || state.step.is_multiple_of(every);
            let check = due(train.log_every) || due(eval.every) || due(checkpoint.every);
            // Reading a loss waits for the device: only then is the time that of the steps.
            let losses = check.then(|| interval.read());
            let elapsed = started.elapsed().as_secs_f64();
            interval.seconds += elapsed;
            state.seconds += elapsed;

            if let Some((loss, gradient_norm)) = losses {
                ensure!(
                    loss.is_finite() && gradient_norm.is_finite(),
                    "the loss is no longer finite (loss {loss}, gradient norm {gradient_norm}, \
                     within the last {} steps before step {}); a lower train.lr may help; \
                     the last checkpoint is of step {saved}",
                    interval.steps,
                    state.step
                );
                let report = self.training_report(state, learner, &interval, loss, gradient_norm);
                interval = Interval::new(&self.device);
                if due(train.log_every) {
                    metrics.training(&report)?;
                    self.show_training(processor, report, batches.progress());
                }
            }
            if interrupter.should_stop() {
                break;
            }
            if due(eval.every) && !ended {
                let evaluation = evaluate::<B>(&learner.model().valid(), validation);
                self.show_validation(processor, &mut metrics, state, evaluation)?;
                self.sample(learner, state)?;
            }
            if due(checkpoint.every) && !ended {
                self.save(learner, state)?;
                saved = state.step;
            }
        }

        self.save(learner, state)?;
        let interrupted = state.step < train.steps;
        let mut evaluation = None;
        if !interrupted {
            let whole = evaluate::<B>(&learner.model().valid(), self.whole_validation.as_ref());
            self.show_validation(processor, &mut metrics, state, whole)?;
            self.sample(learner, state)?;
            evaluation = Some(whole);
        }
        Ok(Finished { state, evaluation, interrupted })
    }

    /// One optimiser step. Gives the mean loss and the norm of the gradient.
    fn step(
        &self,
        learner: &mut Learner<Components<B>>,
        batches: &mut dyn DataLoaderIterator<MicroBatch<B>>,
    ) -> (Tensor<B::InnerBackend, 1>, Tensor<B::InnerBackend, 1>) {
        let train = &self.config.train;
        let model = learner.model();
        let mut loss = Tensor::zeros([1], &self.device);
        let mut accumulator = GradientsAccumulator::<LanguageModel<B>>::new();
        let micro_batches: Vec<_> = batches.take(train.accumulation).collect();
        let mut rest = micro_batches.into_iter();
        let workers = match self.config.backend.kind.is_single_threaded() {
            true => train.workers,
            false => 1,
        };
        while rest.len() > 0 {
            // Added in the order of the batches, so that the sum does not depend on timing.
            for output in self.concurrently(&model, rest.by_ref().take(workers)) {
                loss = loss + output.item.value;
                accumulator.accumulate(&model, output.grads);
            }
        }
        let max_norm = if train.clip > 0.0 { train.clip } else { f64::INFINITY };
        let (grads, norm): (GradientsParams, _) =
            clip_global_norm(&model, accumulator.grads(), max_norm);
        // The learner's own clone of the parameters is then the only one.
        drop(model);
        learner.lr_step();
        learner.optimizer_step(grads);
        (loss, norm)
    }

    /// Forward and backward passes of some micro-batches, each on a thread of its own.
    fn concurrently(
        &self,
        model: &LanguageModel<B>,
        batches: impl Iterator<Item = MicroBatch<B>>,
    ) -> Vec<TrainOutput<Item<Tensor<B::InnerBackend, 1>>>> {
        let work: Vec<_> = batches
            // A fork has autodiff nodes of its own: the passes do not wait for one another.
            .map(|batch| (model.clone().fork(&self.device), batch))
            .collect();
        thread::scope(|scope| {
            let threads: Vec<_> = work
                .into_iter()
                .map(|(model, batch)| scope.spawn(move || TrainStep::step(&model, batch)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }

    fn tokens_per_step(&self) -> u64 {
        let Config { train, model, .. } = &self.config;
        (train.batch * train.accumulation * model.context) as u64
    }

    fn training_report(
        &self,
        state: State,
        learner: &Learner<Components<B>>,
        interval: &Interval<B>,
        loss: f64,
        gradient_norm: f64,
    ) -> Report {
        Report {
            step: state.step,
            tokens: state.tokens,
            seconds: state.seconds,
            loss,
            bits_per_byte: loss / std::f64::consts::LN_2,
            learning_rate: learner.lr_current(),
            weight_decay: self.config.train.schedule().weight_decay(state.step - 1),
            gradient_norm,
            tokens_per_second: (interval.steps * self.tokens_per_step()) as f64 / interval.seconds,
        }
    }

    /// Where the run stands, in validation intervals: what burn-train calls epochs.
    fn epochs(&self, step: u64) -> Progress {
        let Config { train, eval, .. } = &self.config;
        let total = train.steps.div_ceil(eval.every);
        Progress::new(step.div_ceil(eval.every) as usize, total as usize)
    }

    fn show_training(&self, processor: &mut Processor<B>, report: Report, progress: Progress) {
        let value = Tensor::empty([1], &self.device);
        processor.process_train(LearnerEvent::ProcessedItem(TrainingItem::new(
            Item { value, report: Some(report) },
            progress,
            self.epochs(report.step),
            Some(report.step as usize),
            Some(report.learning_rate),
        )));
    }

    fn show_validation(
        &self,
        processor: &mut Processor<B>,
        metrics: &mut MetricsCsv,
        state: State,
        evaluation: Evaluation,
    ) -> anyhow::Result<()> {
        let report = Report {
            step: state.step,
            tokens: state.tokens,
            seconds: state.seconds,
            loss: evaluation.loss(),
            bits_per_byte: evaluation.bits_per_byte(),
            ..Report::EMPTY
        };
        ensure!(
            report.loss.is_finite(),
            "the validation loss of step {} is not finite",
            state.step
        );
        metrics.validation(&report)?;
        let epochs = self.epochs(state.step);
        processor.process_valid(LearnerEvent::ProcessedItem(TrainingItem::new(
            Item { value: evaluation, report: Some(report) },
            Progress::new(1, 1),
            epochs.clone(),
            Some(state.step as usize),
            None,
        )));
        processor.process_train(LearnerEvent::EndEpoch(epochs.items_processed));
        processor.process_valid(LearnerEvent::EndEpoch(epochs.items_processed));
        Ok(())
    }

    fn sample(&self, learner: &Learner<Components<B>>, state: State) -> anyhow::Result<()> {
        let sample = &self.config.sample;
        if sample.tokens == 0 {
            return Ok(());
        }
        let model = learner.model().valid();
        let config = sample.generation(self.config.seed);
        let tokenizer = self.text.tokenizer.as_ref();
        let generation =
            Generation::new(&model.transformer, tokenizer, &self.device, &sample.prompt, &config)?;
        let text = generation.collect::<Result<String, _>>()?;
        let text = format!("{}{text}", sample.prompt);
        self.folder.save_sample(state.step, &text)?;
        if let Some(printer) = &self.printer {
            printer.print(&format!("--- sample at step {}\n{text}\n---", state.step));
        }
        Ok(())
    }

    fn save(&self, learner: &Learner<Components<B>>, state: State) -> anyhow::Result<()> {
        let checkpoint = &self.config.checkpoint;
        let model = learner.model();
        Checkpoint::save::<B>(
            &self.folder.checkpoints(),
            checkpoint.keep,
            state,
            model.clone().into_record(),
            Optimizer::<LanguageModel<B>, B>::to_record(&self.optimizer),
        )?;
        pretrained::save(
            &self.folder.model(),
            &model.valid().transformer,
            self.text.tokenizer.as_ref(),
            checkpoint.dtype,
        )?;
        Ok(())
    }
}

/// The loss over all windows of a loader.
fn evaluate<B: AutodiffBackend>(
    model: &LanguageModel<B::InnerBackend>,
    windows: &dyn DataLoader<B::InnerBackend, <LanguageModel<B::InnerBackend> as InferenceStep>::Input>,
) -> Evaluation {
    let mut sum = Evaluation::default();
    for batch in windows.iter() {
        sum.add(model.step(batch).value);
    }
    sum
}

/// Sums since the last report, kept on the device.
struct Interval<B: AutodiffBackend> {
    loss: Tensor<B::InnerBackend, 1>,
    norm: Tensor<B::InnerBackend, 1>,
    steps: u64,
    seconds: f64,
}

impl<B: AutodiffBackend> Interval<B> {
    fn new(device: &B::Device) -> Self {
        let zero = || Tensor::zeros([1], device);
        Self { loss: zero(), norm: zero(), steps: 0, seconds: 0.0 }
    }

    fn add(&mut self, (loss, norm): (Tensor<B::InnerBackend, 1>, Tensor<B::InnerBackend, 1>)) {
        self.loss = self.loss.clone() + loss;
        self.norm = norm;
        self.steps += 1;
    }

    /// Mean loss, and norm of the last gradient.
    fn read(&self) -> (f64, f64) {
        let read =
            |tensor: &Tensor<B::InnerBackend, 1>| -> f64 { tensor.clone().into_scalar().elem() };
        (read(&self.loss) / self.steps as f64, read(&self.norm))
    }
}
