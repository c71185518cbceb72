use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, anyhow};
use bitnet::{
    pretrained::{CheckpointReader, PretrainedError, initial},
    quant::WeightQuant,
};
use burn::{
    backend::Autodiff,
    module::{AutodiffModule, Module},
    optim::Optimizer,
    tensor::backend::{AutodiffBackend, Backend},
};
use burn_train::{Learner, SupervisedTraining, TrainingStrategy, logger::InMemoryMetricLogger};

use super::{
    checkpoint::Checkpoint,
    display::{Shown, facts::facts, next_commands},
    input::{teacher::Teacher, text::Text},
    learner::{
        RunOptimizer,
        loaders::{TrainLoader, ValidationLoader},
        model::LanguageModel,
        optimizer,
        scheduler::StepScheduler,
    },
    options::Options,
    outcome::Outcome,
    run::{
        setup::Setup,
        strategy::{Finished, StepStrategy},
    },
    speed::Speed,
    state::State,
    step::workers::Workers,
};
use crate::{
    config::Config,
    interrupt::interrupter,
    output::{Field, ReportMetric, ReportRenderer},
    run_folder::{RunFolder, Start},
};

/// A run from its start, or from a checkpoint, to its end.
pub struct Session {
    pub config: Config,
    pub text: Text,
    /// SHA-256 of the teacher.
    pub teacher: Option<String>,
    pub folder: RunFolder,
    /// Of a new run: what is to be left of one that cannot begin.
    pub start: Option<Start>,
    /// The weights that a new run begins with, if not random ones.
    pub initial: Option<CheckpointReader>,
    pub resumed: Option<Checkpoint>,
    pub options: Options,
}

impl Session {
    /// Runs on a backend. Returns how the run ended, or nothing if it was interrupted.
    ///
    /// # Errors
    /// If something cannot be written, or the training diverges.
    pub fn run<B: Backend>(self, device: &B::Device) -> anyhow::Result<Option<Outcome>> {
        let Self { config, text, teacher, folder, start, initial, resumed, options } = self;
        let text = Arc::new(text);
        let codes = resumed.as_ref().map(Checkpoint::codes).transpose()?;
        let Prepared { model, optimizer, average, state } =
            prepare::<Autodiff<B>>(&config, &text, initial, resumed, device)?;
        let vocabulary = text.tokenizer.vocab_size();
        let state = State {
            rates: options.rates,
            text: text.fingerprint.clone(),
            vocabulary,
            teacher,
            ..state
        };
        let teacher = Teacher::load(&config, text.tokenizer.as_ref(), device)?;

        let accumulation = config.train.accumulation as u64;
        let training = TrainLoader::<Autodiff<B>> {
            batches: text.batches(&config)?,
            range: state.batches
                ..state.batches + config.train.steps.saturating_sub(state.step) * accumulation,
            share: 1.0 / accumulation as f64,
            teacher,
            device: device.clone(),
        };
        let validation = |limit| ValidationLoader {
            windows: text.validation_windows(&config, limit).into(),
            text: text.clone(),
        };

        let speed = Speed::measure::<B>(&config, text.tokenizer.vocab_size(), device);
        if average.is_some() {
            note!(
                "warning: train.ema: the average of weights that are quantised is not what was \
                 trained, and often worse; it is kept and validated beside the model"
            );
        }
        let mut facts = facts(&config, &text, &folder, &state);
        facts.extend(speed.describe());
        let fields = shown(&config);
        let shown = Shown {
            config: &config,
            text: &text,
            folder: &folder,
            state: &state,
            facts,
            fields: fields.clone(),
        };
        // From here on signals stop the run.
        let interrupter = interrupter()?;
        let (display, view) = shown.open(options.plain);
        let display = Arc::new(display);

        let mut learning = SupervisedTraining::new(
            folder.path(),
            Arc::new(training),
            Arc::new(validation(config.eval.windows)),
        )
        .num_epochs(config.train.steps.div_ceil(config.eval.every) as usize)
        .with_interrupter(interrupter)
        .with_application_logger(None)
        .with_metric_logger(InMemoryMetricLogger::new())
        .renderer(ReportRenderer::new(view));
        for field in fields {
            learning = learning.metric_train_numeric(ReportMetric::new(field));
            if Field::LOSS.contains(&field) {
                learning = learning.metric_valid_numeric(ReportMetric::new(field));
            }
        }

        let finished = Arc::new(Mutex::new(None));
        let setup = Setup::<Autodiff<B>> {
            workers: Workers::new(config.workers())?,
            config: config.clone(),
            text: text.clone(),
            folder: folder.clone(),
            optimizer: optimizer.clone(),
            speed,
            stop_at: options.stop_at,
            final_validation: Arc::new(validation(config.eval.final_windows)),
            display: display.clone(),
            device: device.clone(),
        };
        let strategy = StepStrategy {
            setup,
            average,
            state: state.clone(),
            codes,
            finished: finished.clone(),
        };
        let learning =
            learning.with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)));
        let scheduler = StepScheduler::new(options.rates, &config.train, state.step);
        drop(learning.launch(Learner::new(model, optimizer, scheduler)));
        // The dashboard would cover what is printed below.
        drop(display);
        // From here on there is something to go on from, or it is said how to begin again.
        if let Some(start) = start {
            start.goes_on();
        }

        let finished = finished.lock().unwrap_or_else(PoisonError::into_inner).take();
        let finished = finished.unwrap_or_else(|| Err(anyhow!("the training loop did not end")));
        let Finished { state, outcome } = finished.map_err(|error| advise(error, &folder))?;
        match (&outcome, options.in_series) {
            (Some(outcome), in_series) => {
                outcome.print(&config, &folder);
                if !in_series {
                    say!(
                        "next: {}",
                        next_commands::generate(&folder.model(), &config.sample.prompt)
                    );
                }
            }
            (None, false) => {
                say!("stopped after step {}; continue with:", state.step);
                say!("{}", next_commands::resume(folder.path()));
            }
            (None, true) => say!("stopped after step {}", state.step),
        }
        Ok(outcome)
    }
}

/// What is shown of a run. The dashboard's list ends where the terminal does: first comes what is
/// looked at most.
fn shown(config: &Config) -> Vec<Field> {
    let mut fields = Field::FIRST.to_vec();
    if config.log.instruments && config.model.quant != WeightQuant::None {
        fields.extend(Field::QUANTIZATION);
    }
    fields.extend(Field::REST);
    if config.log.ceiling {
        fields.push(Field::Utilization);
    }
    fields
}

/// Where a session begins.
struct Prepared<B: AutodiffBackend> {
    model: LanguageModel<B>,
    optimizer: RunOptimizer<B>,
    average: Option<LanguageModel<B::InnerBackend>>,
    state: State,
}

/// Opens what the runs of a configuration begin with, if it names something.
///
/// # Errors
/// If it is damaged, or of another model or tokenizer.
pub fn open_initial(config: &Config, text: &Text) -> anyhow::Result<Option<CheckpointReader>> {
    let Some(path) = &config.train.init_from else { return Ok(None) };
    let tokenizer = text.tokenizer.as_ref();
    let model = config.model.transformer(tokenizer.vocab_size());
    initial(Path::new(path), &model, tokenizer, config.train.insert_sub_norms)
        .map(Some)
        .with_context(|| format!("train.init_from {path}"))
}

/// A model, an optimiser and a moving average, new or from a checkpoint.
fn prepare<B: AutodiffBackend>(
    config: &Config,
    text: &Text,
    initial: Option<CheckpointReader>,
    resumed: Option<Checkpoint>,
    device: &B::Device,
) -> anyhow::Result<Prepared<B>> {
    let transformer = match initial {
        Some(stored) => stored.load::<B>(device)?.model,
        None => {
            let transformer = config.model.transformer(text.tokenizer.vocab_size());
            transformer.init_seeded::<B>(config.seed, device)?
        }
    };
    let model = LanguageModel::new(transformer.with_precision(config.backend.precision));
    let optimizer = optimizer(&config.train, &model);
    let average = |model: &LanguageModel<B>| (config.train.ema > 0.0).then(|| model.valid());
    let Some(checkpoint) = resumed else {
        let average = average(&model);
        return Ok(Prepared { model, optimizer, average, state: State::default() });
    };
    let (model_record, optimizer_record) = checkpoint.load::<B, _, _>(device)?;
    let optimizer = Optimizer::<LanguageModel<B>, B>::load_record(optimizer, optimizer_record);
    let model = model.load_record(model_record);
    // Where a forced change brought it in, it begins here.
    let mut average = average(&model);
    if average.is_some()
        && let Some(record) = checkpoint.load_average::<B::InnerBackend, _>(device)?
    {
        average = average.map(|average| average.load_record(record));
    }
    Ok(Prepared { model, optimizer, average, state: checkpoint.state })
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
