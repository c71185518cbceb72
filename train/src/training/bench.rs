//! How fast a configuration trains: steps over random bytes, with the clock in between.

use std::time::Instant;

use anyhow::ensure;
use bitnet::{
    backend::BackendVisitor,
    data::{Batch, Tokens, TrainBatches},
    loss::cross_entropy,
    memory::peak_resident_bytes,
    optim::clip_global_norm,
};
use burn::{
    backend::Autodiff,
    module::Module,
    optim::{GradientsAccumulator, GradientsParams, Optimizer},
    tensor::{
        ElementConversion, Tensor,
        backend::{AutodiffBackend, Backend},
    },
};
use serde::Serialize;

use super::{
    model::{FITS, LanguageModel},
    preflight,
    session::{RunOptimizer, optimizer},
    speed::Speed,
    workers::Workers,
};
use crate::config::Config;

/// Tokens of the vocabulary: bytes.
const VOCABULARY: usize = 256;
/// Bytes that the windows are taken from.
const TEXT: u64 = 1 << 20;

/// What was measured; times are in seconds, medians of the measured steps.
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
    /// Making the batches.
    pub data: f64,
    /// Forward passes, the mean of the workers.
    pub forward: f64,
    /// Backward passes, the mean of the workers.
    pub backward: f64,
    /// Adding up and clipping gradients, and the optimiser.
    pub optimizer: f64,
    /// Highest resident memory of the process, in bytes.
    pub peak_resident_bytes: Option<u64>,
    /// Rate of f32 matrix products, in floating-point operations a second.
    pub matmul_ceiling: Option<f64>,
    /// Model FLOPs as a share of that.
    pub model_flops_utilization: Option<f64>,
}

/// Measures `steps` steps of a configuration after `warmup` others, on its backend.
///
/// # Errors
/// If backend or device cannot be used.
pub fn bench(config: Config, warmup: usize, steps: usize) -> anyhow::Result<Measured> {
    preflight::check(&config)?;
    let backend = config.backend.clone();
    backend.kind.visit(&backend.device, Bench { config, warmup, steps })?
}

struct Bench {
    config: Config,
    warmup: usize,
    steps: usize,
}

/// The parts of one step.
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
        let mut model = LanguageModel::new(transformer.with_precision(config.backend.precision));
        let mut run = Steps {
            optimizer: optimizer(&config, &model),
            workers: Workers::new(config.workers())?,
            config: &config,
            device: device.clone(),
        };
        let text: Tokens = random_bytes().collect::<Vec<_>>().into();
        let part = 0..text.len();
        let batches =
            TrainBatches::new(text, part, train.batch, config.model.context, config.seed)?;

        let mut times = Vec::with_capacity(steps);
        for index in 0..warmup + steps {
            let (time, loss);
            (model, time, loss) = run.step(model, &batches, index)?;
            ensure!(loss.is_finite(), "the loss is not finite in step {}", index + 1);
            times.push(time);
        }
        let median = |part: fn(&Times) -> f64| {
            let mut parts: Vec<f64> = times[warmup..].iter().map(part).collect();
            parts.sort_by(f64::total_cmp);
            let (low, high) = ((parts.len() - 1) / 2, parts.len() / 2);
            (parts[low] + parts[high]) / 2.0
        };
        let step = median(|times| times.step);
        let tokens_per_step = train.batch * train.accumulation * config.model.context;
        let tokens_per_second = tokens_per_step as f64 / step;
        // Before the ceiling, whose operands are not part of a training.
        let peak_resident_bytes = peak_resident_bytes();
        let speed = Speed::measure::<B>(&config, VOCABULARY, &device);
        Ok(Measured {
            backend: config.backend.kind.to_string(),
            parameters,
            tokens_per_step,
            tokens_per_second,
            step,
            data: median(|times| times.data),
            forward: median(|times| times.forward),
            backward: median(|times| times.backward),
            optimizer: median(|times| times.optimizer),
            peak_resident_bytes,
            matmul_ceiling: speed.ceiling,
            model_flops_utilization: speed.ceiling.map(|_| speed.utilization(tokens_per_second)),
        })
    }
}

/// What a step needs beside the model.
struct Steps<'a, B: AutodiffBackend> {
    optimizer: RunOptimizer<B>,
    workers: Workers,
    config: &'a Config,
    device: B::Device,
}

impl<B: AutodiffBackend> Steps<'_, B> {
    /// One step, as a run has it. Gives the model, the step's times and its loss.
    fn step(
        &mut self,
        model: LanguageModel<B>,
        batches: &TrainBatches,
        index: usize,
    ) -> anyhow::Result<(LanguageModel<B>, Times, f64)> {
        let Self { workers, config, device, .. } = self;
        let train = &config.train;
        let mut times = Times::default();
        let started = Instant::now();
        let first = (index * train.accumulation) as u64;
        let mut micro_batches: Vec<Batch<B>> = (first..first + train.accumulation as u64)
            .map(|index| batches.batch(index, device))
            .collect();
        times.data = started.elapsed().as_secs_f64();

        let mut accumulator = GradientsAccumulator::<LanguageModel<B>>::new();
        let (mut adding, mut loss) = (0.0, 0.0);
        let share = 1.0 / train.accumulation as f64;
        while !micro_batches.is_empty() {
            let now = micro_batches.drain(..workers.count().min(micro_batches.len()));
            let work: Vec<_> = now
                .map(|batch| {
                    let model = model.clone().fork(device);
                    move || passes(&model, batch, share)
                })
                .collect();
            let round = work.len() as f64;
            for passes in workers.run(work) {
                let (grads, seconds, nats) = passes?;
                times.forward += seconds[0] / round;
                times.backward += seconds[1] / round;
                loss += nats;
                let started = Instant::now();
                accumulator.accumulate(&model, grads);
                adding += started.elapsed().as_secs_f64();
            }
        }

        let before = Instant::now();
        let max_norm = if train.clip > 0.0 { train.clip } else { f64::INFINITY };
        let (grads, _): (GradientsParams, _) =
            clip_global_norm(&model, accumulator.grads(), max_norm);
        let lr = train.schedule().learning_rate(index as u64);
        let model = self.optimizer.step(lr, model, grads);
        B::sync(&self.device)?;
        times.optimizer = adding + before.elapsed().as_secs_f64();
        times.step = started.elapsed().as_secs_f64();
        Ok((model, times, loss))
    }
}

/// Gradients, the times of forward and backward pass, and the loss.
type Passes = anyhow::Result<(GradientsParams, [f64; 2], f64)>;

fn passes<B: AutodiffBackend>(model: &LanguageModel<B>, batch: Batch<B>, share: f64) -> Passes {
    let started = Instant::now();
    let logits = model.transformer.forward(batch.inputs).expect(FITS);
    let loss: Tensor<B, 1> = cross_entropy(logits, batch.targets).mul_scalar(share);
    // Reading a value waits for it.
    let nats: f64 = loss.clone().inner().into_scalar().elem();
    let forward = started.elapsed().as_secs_f64();
    let device = loss.device();
    let grads = GradientsParams::from_grads(loss.backward(), model);
    B::sync(&device)?;
    let backward = started.elapsed().as_secs_f64() - forward;
    Ok((grads, [forward, backward], nats))
}

/// Bytes of a linear congruential generator (Knuth's MMIX).
fn random_bytes() -> impl Iterator<Item = u32> {
    (0..TEXT).scan(1_u64, |state, _| {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state >> 56) as u32)
    })
}
