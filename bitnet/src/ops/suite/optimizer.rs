//! Steps of AdamW, and clipping.

use burn::{
    optim::AdamWState,
    tensor::{Tensor, backend::Backend},
};
use burn_ndarray::NdArray;

use super::compare::{ROUNDING_TOLERANCE, compare, noise, values};
use crate::ops::{adamw::AdamWStep, clip};

/// Some steps of a parameter.
fn adamw_steps<B: Backend>() -> Vec<f32> {
    let device = Default::default();
    let tensor = |seed| Tensor::<B, 2>::from_data(noise([70, 33], 0.5, seed), &device);
    let step = AdamWStep { lr: 1e-2, keep: 0.99, betas: (0.9, 0.95), epsilon: 1e-8 };
    let mut state: Option<AdamWState<B, 2>> = None;
    let mut parameter = tensor(0);
    for seed in 1..4 {
        let stepped;
        (parameter, stepped) = step.apply(parameter, tensor(seed), state);
        state = Some(stepped);
    }
    let momentum = state.expect("three steps").momentum;
    assert_eq!(momentum.time, 3);
    let [parameter, first, second] = [parameter, momentum.moment_1, momentum.moment_2].map(values);
    [parameter, first, second].concat()
}

pub(super) fn adamw<I: Backend>() {
    compare(
        &adamw_steps::<I>(),
        &adamw_steps::<NdArray>(),
        ROUNDING_TOLERANCE,
        "parameter and moments",
    );
}

/// Gradients clipped to a norm, and their norm before.
fn clipped<B: Backend>(max_norm: f64) -> Vec<f32> {
    let device = Default::default();
    let grads = [1, 1000, 40_000]
        .map(|len| Tensor::<B, 2>::from_data(noise([1, len], 0.5, len), &device).reshape([len]));
    let (grads, norm) = clip::clip(grads.into(), max_norm, &device);
    grads.into_iter().chain([norm]).flat_map(values).collect()
}

pub(super) fn clip<I: Backend>() {
    for max_norm in [0.1, 1e4] {
        compare(
            &clipped::<I>(max_norm),
            &clipped::<NdArray>(max_norm),
            ROUNDING_TOLERANCE,
            "gradients",
        );
    }
}
