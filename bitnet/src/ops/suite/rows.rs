//! Operations over the rows of a matrix, and the mean magnitude of a weight.

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::compare::{Case, ROUNDING_TOLERANCE, check};
use crate::ops::{
    absmean::ternary_absmean,
    gated::{self, Gate},
    rms_norm, token_losses,
};

struct RmsNorm([usize; 2]);

impl Case for RmsNorm {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        vec![(self.0, 3.0), ([1, self.0[1]], 1.0)]
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let [x, gains] = inputs.try_into().expect("two");
        rms_norm::rms_norm(x, gains.squeeze_dim(0), 1e-5)
    }
}

pub(super) fn rms_norm<I: Backend>() {
    for shape in [[1, 1], [5, 40], [130, 192]] {
        check::<I>(&RmsNorm(shape), ROUNDING_TOLERANCE);
    }
}

struct Gated {
    gate: Gate,
    shape: [usize; 2],
}

impl Case for Gated {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        vec![(self.shape, 4.0); 2]
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let [gate, up] = inputs.try_into().expect("two");
        gated::gated(self.gate, gate, up)
    }
}

pub(super) fn gated<I: Backend>() {
    for gate in [Gate::Relu2, Gate::Silu] {
        for shape in [[1, 1], [70, 33]] {
            check::<I>(&Gated { gate, shape }, ROUNDING_TOLERANCE);
        }
    }
}

struct TokenLosses([usize; 2]);

impl Case for TokenLosses {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        vec![(self.0, 9.0)]
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let [logits] = inputs.try_into().expect("one");
        let [tokens, vocab] = self.0;
        let targets: Vec<i32> = (0..tokens).map(|i| (i * 7 % vocab) as i32).collect();
        let targets = TensorData::new(targets, [tokens]);
        let targets = Tensor::<B, 1, Int>::from_data(targets, &logits.device());
        token_losses::token_losses(logits, targets).unsqueeze()
    }
}

pub(super) fn token_losses<I: Backend>() {
    for shape in [[1, 2], [70, 259]] {
        check::<I>(&TokenLosses(shape), ROUNDING_TOLERANCE);
    }
}

/// The mean that both quantisers of weights divide by.
struct Absmean([usize; 2]);

impl Case for Absmean {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        vec![(self.0, 0.3)]
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let [weight] = inputs.try_into().expect("one");
        ternary_absmean(weight, &[0, 1]).1
    }
}

pub(super) fn absmean<I: Backend>() {
    for shape in [[1, 1], [300, 171]] {
        check::<I>(&Absmean(shape), ROUNDING_TOLERANCE);
    }
}
