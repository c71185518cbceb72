//! A step of AdamW (arXiv 1711.05101), with `t` the number of the step from 1:
//!
//! ```text
//! m ← β₁·m + (1 − β₁)·g        v ← β₂·v + (1 − β₂)·g²
//! p ← keep·p − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
//! ```

#[cfg(any(feature = "flex", feature = "cuda"))]
use burn::optim::AdaptiveMomentumState;
use burn::{
    optim::{AdamW, AdamWConfig, AdamWState, SimpleOptimizer},
    tensor::{Tensor, backend::Backend},
};

#[cfg(feature = "cuda")]
use super::cube;
#[cfg(feature = "flex")]
use super::{flex, is_on};
pub(crate) use crate::cpu::adamw::AdamWStep;

impl AdamWStep {
    /// Steps a parameter; the state is none before the first step.
    pub(crate) fn apply<B: Backend, const D: usize>(
        self,
        parameter: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<AdamWState<B, D>>,
    ) -> (Tensor<B, D>, AdamWState<B, D>) {
        #[cfg(feature = "flex")]
        if is_on::<burn_flex::Flex, _, _>(&parameter) {
            return in_one(parameter, state, |time, all| flex::adamw(self, time, all, grad));
        }
        #[cfg(feature = "cuda")]
        if cube::is_on_gpu(&parameter) {
            return in_one(parameter, state, |time, all| cube::adamw(self, time, all, grad));
        }
        let adam: AdamW = AdamWConfig::new()
            .with_beta_1(self.betas.0)
            .with_beta_2(self.betas.1)
            .with_epsilon(self.epsilon)
            .with_weight_decay(0.0)
            .build();
        let parameter = if self.keep == 1.0 { parameter } else { parameter.mul_scalar(self.keep) };
        let (parameter, state) = adam.step(self.lr, parameter, grad, state);
        (parameter, state.expect("a step has a state"))
    }
}

/// A step of a parameter and both moments at once, given the number of the step.
#[cfg(any(feature = "flex", feature = "cuda"))]
fn in_one<B: Backend, const D: usize>(
    parameter: Tensor<B, D>,
    state: Option<AdamWState<B, D>>,
    step: impl FnOnce(usize, [Tensor<B, D>; 3]) -> [Tensor<B, D>; 3],
) -> (Tensor<B, D>, AdamWState<B, D>) {
    let momentum = state.map(|state| state.momentum).unwrap_or_else(|| {
        let [first, second] = [(); 2].map(|()| parameter.zeros_like());
        AdaptiveMomentumState::new(0, first, second)
    });
    let time = momentum.time + 1;
    let [parameter, first, second] = step(time, [parameter, momentum.moment_1, momentum.moment_2]);
    (parameter, AdamWState::new(AdaptiveMomentumState::new(time, first, second)))
}
