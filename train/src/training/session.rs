use std::{
    io::{self, IsTerminal},
    process,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, anyhow};
use bitnet::{
    optim::{AdamW, AdamWConfig},
    pretrained::PretrainedError,
};
use burn::{
    backend::Autodiff,
    module::Module,
    optim::{Optimizer, adaptor::OptimizerAdaptor},
    tensor::backend::{AutodiffBackend, Backend},
};
use burn_train::{
    Interrupter, Learner, LearningComponentsMarker, SupervisedTraining, TrainingStrategy,
    logger::InMemoryMetricLogger,
};

use super::{
    Options,
    checkpoint::Checkpoint,
    loaders::{TrainLoader, ValidationLoader},
    model::LanguageModel,
    optimizer::SharedOptimizer,
    scheduler::StepScheduler,
    state::State,
    strategy::{Finished, StepStrategy},
    text::Text,
};
use crate::{
    config::Config,
    output::{Field, PlainRenderer, ReportMetric},
    run_folder::RunFolder,
};

/// The optimiser of a run.
pub type RunOptimizer<B> = SharedOptimizer<OptimizerAdaptor<AdamW, LanguageModel<B>, B>>;

/// burn-train's types, filled in.
pub type Components<B> =
    LearningComponentsMarker<B, StepScheduler, LanguageModel<B>, RunOptimizer<B>>;

/// A run from its start, or from a checkpoint, to its end.
pub struct Session {
    pub config: Config,
    pub text: Text,
    pub folder: RunFolder,
    pub resumed: Option<Checkpoint>,
    pub options: Options,
}

impl Session {
    /// Runs on a backend.
    pub fn run<B: Backend>(self, device: &B::Device) -> anyhow::Result<()> {
        let Self { config, text, folder, resumed, options } = self;
        let text = Arc::new(text);
        let (model, optimizer, state) = prepare::<Autodiff<B>>(&config, &text, resumed, device)?;

        let accumulation = config.train.accumulation as u64;
        let training = TrainLoader::<Autodiff<B>> {
            batches: text.batches(&config)?,
            range: state.batches
                ..state.batches + config.train.steps.saturating_sub(state.step) * accumulation,
            share: 1.0 / accumulation as f64,
            device: device.clone(),
        };
        let validation = |limit| ValidationLoader {
            windows: text.validation_windows(&config, limit).into(),
            text: text.clone(),
        };

        let interrupter = Interrupter::new();
        let on_signal = interrupter.clone();
        // A second signal ends the program at once.
        ctrlc::set_handler(move || match on_signal.should_stop() {
            true => process::exit(130),
            false => on_signal.stop(Some("interrupted")),
        })
        .context("cannot handle Ctrl-C")?;

        let mut learning = SupervisedTraining::new(
            folder.path(),
            Arc::new(training),
            Arc::new(validation(config.eval.windows)),
        )
        .num_epochs(config.train.steps.div_ceil(config.eval.every) as usize)
        .with_interrupter(interrupter)
        .with_application_logger(None)
        .with_metric_logger(InMemoryMetricLogger::new())
        .metrics((ReportMetric::new(Field::Loss), ReportMetric::new(Field::BitsPerByte)))
        .metric_train_numeric(ReportMetric::new(Field::LearningRate))
        .metric_train_numeric(ReportMetric::new(Field::GradientNorm))
        .metric_train_numeric(ReportMetric::new(Field::TokensPerSecond));

        let on_dashboard = !options.plain && io::stdout().is_terminal();
        let mut printer = None;
        if !on_dashboard {
            let renderer = PlainRenderer::new(state.step, config.train.steps);
            printer = Some(renderer.printer());
            learning = learning.renderer(renderer);
        }

        let finished = Arc::new(Mutex::new(None));
        let strategy = StepStrategy::<Autodiff<B>> {
            config: config.clone(),
            text: text.clone(),
            folder: folder.clone(),
            optimizer: optimizer.clone(),
            stop_at: options.stop_at,
            state: state.clone(),
            whole_validation: Arc::new(validation(0)),
            printer,
            device: device.clone(),
            finished: finished.clone(),
        };
        let learning =
            learning.with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)));
        let scheduler = StepScheduler::new(config.train.schedule(), state.step);
        // Dropping the result closes the dashboard, which would cover what is printed below.
        drop(learning.launch(Learner::new(model, optimizer, scheduler)));

        let finished = finished.lock().unwrap_or_else(PoisonError::into_inner).take();
        let finished = finished.unwrap_or_else(|| Err(anyhow!("the training loop did not end")));
        let Finished { state, outcome } = finished.map_err(|error| advise(error, &folder))?;
        match outcome {
            Some(outcome) => outcome.print(&config, &folder),
            None => println!(
                "stopped after step {}; continue with --resume {}",
                state.step,
                folder.path().display()
            ),
        }
        Ok(())
    }
}

/// A model and an optimiser, new or from a checkpoint.
fn prepare<B: AutodiffBackend>(
    config: &Config,
    text: &Text,
    resumed: Option<Checkpoint>,
    device: &B::Device,
) -> anyhow::Result<(LanguageModel<B>, RunOptimizer<B>, State)> {
    let transformer = config
        .model
        .transformer(text.tokenizer.vocab_size())
        .init_seeded::<B>(config.seed, device)?;
    let model = LanguageModel::new(transformer.with_precision(config.backend.precision));
    let optimizer = AdamWConfig {
        betas: config.train.betas.into(),
        epsilon: config.train.epsilon,
        schedule: config.train.schedule(),
    };
    let optimizer = SharedOptimizer::new(optimizer.init());
    let (vocabulary, text) = (text.tokenizer.vocab_size(), text.fingerprint.clone());
    let Some(checkpoint) = resumed else {
        return Ok((model, optimizer, State { text, vocabulary, ..State::default() }));
    };
    let (model_record, optimizer_record) = checkpoint.load::<B, _, _>(device)?;
    let optimizer = Optimizer::<LanguageModel<B>, B>::load_record(optimizer, optimizer_record);
    Ok((model.load_record(model_record), optimizer, State { text, ..checkpoint.state }))
}

/// Adds to an error how the run can go on.
fn advise(error: anyhow::Error, folder: &RunFolder) -> anyhow::Error {
    let is_full = error.chain().any(|cause| {
        let error = match cause.downcast_ref::<PretrainedError>() {
            Some(PretrainedError::Write { error, .. }) => Some(error),
            _ => cause.downcast_ref::<io::Error>(),
        };
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        error.is_some_and(|e| matches!(e.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    });
    let space = if is_full { "free some space, then " } else { "" };
    let path = folder.path().display();
    let newest = Checkpoint::newest(&folder.checkpoints()).ok().and_then(|found| found.checkpoint);
    match newest {
        Some(Checkpoint { state, .. }) => anyhow!(
            "{error:#}; the checkpoint of step {} is whole: {space}continue with --resume {path}",
            state.step
        ),
        None => anyhow!(
            "{error:#}; there is no checkpoint yet: {space}begin again with --resume {path}"
        ),
    }
}
