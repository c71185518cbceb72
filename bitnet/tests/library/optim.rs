//! Clipping by the global norm, and AdamW step by step.

use crate::common::{Ad, assert_close, bits, for_each_backend, tensor, values};
use bitnet::optim::{AdamW, AdamWConfig, Schedule, ScheduleKind, clip_global_norm};
use burn::{
    module::Param,
    nn::{Linear, LinearConfig},
    optim::{GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    record::{BinBytesRecorder, FullPrecisionSettings, Recorder},
    tensor::backend::Backend,
};

for_each_backend!(
    the_norm_is_over_all_parameters,
    short_gradients_are_left_alone,
    zero_and_missing_gradients_are_no_trouble,
    two_steps_by_hand,
    decay_reaches_matrices_only,
    decay_follows_the_schedule,
    the_state_survives_a_restart,
);

const LR: f64 = 0.1;

/// A matrix `[2, 1]` and a vector, which get as gradients whatever a test wants.
fn module<B: Backend>() -> Linear<Ad<B>> {
    let mut module = LinearConfig::new(2, 1).init(&Default::default());
    module.weight = Param::from_tensor(tensor(&[1.0, -2.0], [2, 1]));
    module.bias = Some(Param::from_tensor(tensor(&[3.0], [1])));
    module
}

/// Gradients of a loss that is linear in the parameters, which are its factors.
fn gradients<B: Backend>(
    module: &Linear<Ad<B>>,
    weight: [f32; 2],
    bias: Option<f32>,
) -> GradientsParams {
    let mut loss = (module.weight.val() * tensor(&weight, [2, 1])).sum();
    if let Some(factor) = bias {
        loss = loss + module.bias.as_ref().unwrap().val() * factor;
    }
    GradientsParams::from_grads(loss.backward(), module)
}

/// Matrix and vector of the gradients.
fn parts<B: Backend>(module: &Linear<Ad<B>>, grads: &GradientsParams) -> (Vec<f32>, Vec<f32>) {
    let weight = grads.get::<B, 2>(module.weight.id).unwrap();
    let bias = grads.get::<B, 1>(module.bias.as_ref().unwrap().id).unwrap();
    (values(weight), values(bias))
}

/// Matrix and vector of the module.
fn parameters<B: Backend>(module: &Linear<Ad<B>>) -> Vec<f32> {
    let mut all = values(module.weight.val());
    all.extend(values(module.bias.as_ref().unwrap().val()));
    all
}

fn the_norm_is_over_all_parameters<B: Backend>() {
    // √(2² + 3² + 6²) = 7. Clipped to 3.5, everything halves: the direction is kept.
    let module = module::<B>();
    let (grads, norm) = clip_global_norm(&module, gradients(&module, [2.0, 3.0], Some(-6.0)), 3.5);
    assert_close(&values(norm), &[7.0], 1e-6, "norm");
    let (weight, bias) = parts(&module, &grads);
    assert_close(&weight, &[1.0, 1.5], 1e-6, "matrix");
    assert_close(&bias, &[-3.0], 1e-6, "vector");
}

fn short_gradients_are_left_alone<B: Backend>() {
    let module = module::<B>();
    let (grads, norm) = clip_global_norm(&module, gradients(&module, [0.2, 0.3], Some(-0.6)), 1.0);
    assert_close(&values(norm), &[0.7], 1e-6, "norm");
    let (weight, bias) = parts(&module, &grads);
    assert_eq!((bits(&weight), bits(&bias)), (bits(&[0.2, 0.3]), bits(&[-0.6])));
}

fn zero_and_missing_gradients_are_no_trouble<B: Backend>() {
    let module = module::<B>();
    let (grads, norm) = clip_global_norm(&module, gradients(&module, [0.0, 0.0], Some(0.0)), 1.0);
    assert_eq!(values(norm), [0.0]);
    assert_eq!(parts(&module, &grads), (vec![0.0, 0.0], vec![0.0]));

    // The vector is in no loss: √(3² + 4²) = 5.
    let (grads, norm) = clip_global_norm(&module, gradients(&module, [3.0, 4.0], None), 1.0);
    assert_close(&values(norm), &[5.0], 1e-6, "norm");
    let weight = values(grads.get::<B, 2>(module.weight.id).unwrap());
    assert_close(&weight, &[0.6, 0.8], 1e-6, "matrix");
    assert_eq!(grads.len(), 1);
}

fn adamw<B: Backend>(
    kind: ScheduleKind,
    epsilon: f64,
) -> OptimizerAdaptor<AdamW, Linear<Ad<B>>, Ad<B>> {
    let schedule = Schedule {
        kind,
        peak: LR,
        second_peak: LR,
        final_fraction: 0.0,
        decay_fraction: 0.0,
        warmup: 0,
        steps: 4,
        weight_decay: 0.5,
    };
    AdamWConfig { betas: (0.9, 0.95), epsilon, schedule }.init()
}

fn two_steps_by_hand<B: Backend>() {
    let mut optim = adamw::<B>(ScheduleKind::Constant, 0.5);
    let module = module::<B>();

    // First step: the bias corrections cancel the decay rates, m̂ = g and v̂ = g², so a parameter
    // moves by −lr · g / (|g| + ε). Matrices first shrink by 1 − lr · 0.5 = 0.95.
    let grads = gradients(&module, [0.5, -1.5], Some(0.5));
    let module = optim.step(LR, module, grads);
    let expected = [0.95 - 0.1 * 0.5, -1.9 + 0.1 * 1.5 / 2.0, 3.0 - 0.1 * 0.5];
    assert_close(&parameters(&module), &expected, 1e-6, "first step");

    // Second step, first parameter: m = 0.9 · 0.05 − 0.1 · 1 = −0.055, m̂ = m / (1 − 0.9²),
    // v = 0.95 · 0.0125 + 0.05 · 1 = 0.061875, v̂ = v / (1 − 0.95²).
    let grads = gradients(&module, [-1.0, 0.0], Some(-1.0));
    let module = optim.step(LR, module, grads);
    let moved = 0.1 * 0.055 / 0.19 / ((0.061_875f32 / 0.0975).sqrt() + 0.5);
    // Second parameter: m = −0.9 · 0.15, v = 0.95 · 0.1125, and no new gradient.
    let drift = 0.1 * 0.135 / 0.19 / ((0.106_875f32 / 0.0975).sqrt() + 0.5);
    let expected = [expected[0] * 0.95 + moved, expected[1] * 0.95 + drift, expected[2] + moved];
    assert_close(&parameters(&module), &expected, 1e-6, "second step");
}

fn decay_reaches_matrices_only<B: Backend>() {
    let mut optim = adamw::<B>(ScheduleKind::Constant, 1e-8);
    let module = module::<B>();
    let grads = gradients(&module, [0.0, 0.0], Some(0.0));
    let module = optim.step(LR, module, grads);
    assert_close(&parameters(&module), &[0.95, -1.9, 3.0], 1e-6, "without gradient");
    assert_eq!(parameters(&module)[2], 3.0);
}

fn decay_follows_the_schedule<B: Backend>() {
    // Two stages over four steps: decay in the first two, none in the others.
    let mut optim = adamw::<B>(ScheduleKind::TwoStage, 1e-8);
    let mut module = module::<B>();
    for expected in [0.95, 0.9025, 0.9025, 0.9025] {
        let grads = gradients(&module, [0.0, 0.0], Some(0.0));
        module = optim.step(LR, module, grads);
        assert_close(&parameters(&module), &[expected, -2.0 * expected, 3.0], 1e-6, "decayed");
    }
}

fn the_state_survives_a_restart<B: Backend>() {
    let step = |optim: &mut OptimizerAdaptor<AdamW, _, _>, module: Linear<Ad<B>>, n: i32| {
        let grads = gradients(&module, [0.3 * n as f32, -0.1], Some(1.0 / n as f32));
        optim.step(LR, module, grads)
    };
    let mut optim = adamw::<B>(ScheduleKind::TwoStage, 1e-8);
    let mut module = module::<B>();
    for n in 1..=2 {
        module = step(&mut optim, module, n);
    }
    let recorder = BinBytesRecorder::<FullPrecisionSettings, Vec<u8>>::default();
    let bytes = Recorder::<Ad<B>>::record(&recorder, optim.to_record(), ()).unwrap();

    let uninterrupted = step(&mut optim, module.clone(), 3);
    let record = Recorder::<Ad<B>>::load(&recorder, bytes, &Default::default()).unwrap();
    let mut resumed = adamw::<B>(ScheduleKind::TwoStage, 1e-8).load_record(record);
    let resumed = step(&mut resumed, module.clone(), 3);
    assert_eq!(bits(&parameters(&resumed)), bits(&parameters(&uninterrupted)));

    // A new optimiser would have begun anew, with decay.
    let fresh = step(&mut adamw::<B>(ScheduleKind::TwoStage, 1e-8), module, 3);
    assert_ne!(bits(&parameters(&fresh)), bits(&parameters(&uninterrupted)));
}
