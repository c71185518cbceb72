//! How fast a configuration trains: the steps of a run over random bytes, with the clock in
//! between.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::ensure;
use bitnet::{
    backend::BackendVisitor,
    data::{Tokens, TrainBatches},
    memory::peak_resident_bytes,
};
use burn::{
    backend::Autodiff,
    data::dataloader::{DataLoader, DataLoaderIterator},
    tensor::{
        ElementConversion,
        backend::{AutodiffBackend, Backend},
    },
};
use burn_train::Learner;
use serde::Serialize;

use super::{
    learner::{
        Components,
        loaders::TrainLoader,
        model::{LanguageModel, MicroBatch},
        optimizer,
        scheduler::{Rates, StepScheduler},
    },
    preflight,
    speed::Speed,
    step::{Step, workers::Workers},
};
use crate::config::Config;

/// Tokens of the vocabulary: bytes.
const VOCABULARY: usize = 256;
/// Bytes that the windows are taken from.
const TEXT: u64 = 1 << 20;

/// Steps of which the parts are measured: waiting for a GPU in between makes its steps slower.
const STEPS_WITH_PARTS: usize = 3;

/// What was measured; times are in seconds: of whole steps the median, of parts the medians of
/// some more steps.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Name of the backend.
    pub backend: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Tokens of a step.
    pub tokens_per_step: usize,
    /// Of whole steps.
    pub tokens_per_second: f64,
    /// A whole step.
    pub step: f64,
    /// A step in which the device is waited for after each part.
    pub step_in_parts: f64,
    /// Of that, making the batches.
    pub data: f64,
    /// Forward passes, the mean of the workers.
    pub forward: f64,
    /// Backward passes, the mean of the workers.
    pub backward: f64,
    /// Adding up and clipping gradients, the optimiser, and waiting for the slowest worker.
    pub optimizer: f64,
    /// Highest resident memory of the process, in bytes.
    pub peak_resident_bytes: Option<u64>,
    /// Rate of matrix products in the run's precision, in floating-point operations per second.
    #[serde(rename = "matmul_ceiling")]
    pub matmul_peak: Option<f64>,
    /// Model FLOPs as a share of that.
    pub model_flops_utilization: Option<f64>,
}

/// Measures `steps` steps of a configuration after `warmup` others, on its backend, and their parts
/// in a few more.
///
/// # Errors
/// If backend or device cannot be used.
pub fn bench(config: Config, warmup: usize, steps: usize) -> anyhow::Result<Measured> {
    preflight::check(&config)?;
    let backend = config.backend.clone();
    backend.visit(Bench { config, warmup, steps })?
}

struct Bench {
    config: Config,
    warmup: usize,
    steps: usize,
}

/// The parts of one step, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    step: f64,
    data: f64,
    forward: f64,
    backward: f64,
    optimizer: f64,
}

impl BackendVisitor for Bench {
    type Output = anyhow::Result<Measured>;

    fn visit<B: Backend>(self, device: B::Device) -> Self::Output {
        let Self { config, warmup, steps } = self;
        let train = &config.train;
        let transformer = config.model.transformer(VOCABULARY);
        let parameters = transformer.parameter_count() as u64;
        let transformer = transformer.init_seeded::<Autodiff<B>>(config.seed, &device)?;
        let model = LanguageModel::new(transformer.with_precision(config.backend.precision));
        let text: Tokens = random_bytes().collect::<Vec<_>>().into();
        let part = 0..text.len();
        let loader = TrainLoader::<Autodiff<B>> {
            batches: TrainBatches::new(text, part, train.batch, config.model.context, config.seed)?,
            range: 0..((warmup + steps + STEPS_WITH_PARTS) * train.accumulation) as u64,
            share: 1.0 / train.accumulation as f64,
            teacher: None,
            device: device.clone(),
        };
        let optimizer = optimizer(train, &model);
        let scheduler = StepScheduler::new(Rates::Schedule, train, 0);
        let mut learner = Learner::new(model, optimizer, scheduler);
        let workers = Workers::new(config.workers())?;

        let mut batches = loader.iter();
        let mut whole = Vec::with_capacity(steps);
        let mut in_parts = Vec::with_capacity(STEPS_WITH_PARTS);
        for index in 0..warmup + steps + STEPS_WITH_PARTS {
            let step = Step {
                workers: &workers,
                clip: train.clip,
                quant_strength: train.quant_strength(index as u64),
                device: &device,
            };
            let of_step = index.checked_sub(warmup);
            let loss = if of_step.is_some_and(|index| index >= steps) {
                let (times, loss) =
                    step_in_parts(&step, &mut learner, batches.as_mut(), train.accumulation)?;
                in_parts.push(times);
                loss
            } else {
                let started = Instant::now();
                let micro_batches = batches.by_ref().take(train.accumulation).collect();
                let (loss, _) = step.take(&mut learner, micro_batches);
                B::sync(&device)?;
                if of_step.is_some() {
                    whole.push(started.elapsed().as_secs_f64());
                }
                loss.into_scalar().elem()
            };
            ensure!(loss.is_finite(), "the loss is not finite in step {}", index + 1);
        }
        let part = |part: fn(&Times) -> f64| median(in_parts.iter().map(part).collect());
        let step = median(whole);
        let tokens_per_step = train.batch * train.accumulation * config.model.context;
        let tokens_per_second = tokens_per_step as f64 / step;
        // Before the peak is measured: its operands are not part of a training.
        let peak_resident_bytes = peak_resident_bytes();
        let speed = Speed::measure::<B>(&config, VOCABULARY, &device);
        Ok(Measured {
            backend: config.backend.kind.to_string(),
            parameters,
            tokens_per_step,
            tokens_per_second,
            step,
            step_in_parts: part(|times| times.step),
            data: part(|times| times.data),
            forward: part(|times| times.forward),
            backward: part(|times| times.backward),
            optimizer: part(|times| times.optimizer),
            peak_resident_bytes,
            matmul_peak: speed.matmul_peak,
            model_flops_utilization: speed
                .matmul_peak
                .map(|_| speed.utilization(tokens_per_second)),
        })
    }
}

/// The middle one of some numbers, or the mean of the two in the middle.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let (low, high) = ((numbers.len() - 1) / 2, numbers.len() / 2);
    (numbers[low] + numbers[high]) / 2.0
}

/// A step of a run, with the device waited for and the clock read in between. Returns its times
/// and its loss.
fn step_in_parts<B: AutodiffBackend>(
    step: &Step<'_, B>,
    learner: &mut Learner<Components<B>>,
    batches: &mut dyn DataLoaderIterator<MicroBatch<B>>,
    accumulation: usize,
) -> anyhow::Result<(Times, f64)> {
    let started = Instant::now();
    let micro_batches: Vec<_> = batches.take(accumulation).collect();
    let data = started.elapsed().as_secs_f64();

    let of_passes = Mutex::new([0.0; 2]);
    let (loss, _) = step.take_with(learner, micro_batches, |model, batch| {
        let started = Instant::now();
        let mut forward = 0.0;
        let output = model.passes(batch, |loss| {
            // Reading a value waits for it.
            let _ = loss.to_data();
            forward = started.elapsed().as_secs_f64();
        });
        // What cannot be waited for here fails where the loss is read.
        drop(B::sync(step.device));
        let both = started.elapsed().as_secs_f64();
        let mut sums = of_passes.lock().unwrap_or_else(PoisonError::into_inner);
        sums[0] += forward;
        sums[1] += both - forward;
        output
    });
    B::sync(step.device)?;
    let elapsed = started.elapsed().as_secs_f64();
    // Workers compute at the same time: what counts is a round of them.
    let rounds = accumulation.div_ceil(step.workers.count()) as f64 / accumulation as f64;
    let of_passes = of_passes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let [forward, backward] = of_passes.map(|seconds| seconds * rounds);
    let optimizer = elapsed - data - forward - backward;
    let times = Times { step: elapsed, data, forward, backward, optimizer };
    Ok((times, loss.into_scalar().elem()))
}

/// Bytes of a linear congruential generator (Knuth's MMIX).
fn random_bytes() -> impl Iterator<Item = u32> {
    (0..TEXT).scan(1_u64, |state, _| {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state >> 56) as u32)
    })
}
