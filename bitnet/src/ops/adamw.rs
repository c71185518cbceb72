//! A step of AdamW (arXiv 1711.05101), with `t` the number of the step from 1:
//!
//! ```text
//! m ← β₁·m + (1 − β₁)·g        v ← β₂·v + (1 − β₂)·g²
//! p ← keep·p − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
//! ```

use burn::{
    optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, SimpleOptimizer},
    tensor::{Tensor, backend::Backend},
};

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
            let momentum = state.map(|state| state.momentum).unwrap_or_else(|| {
                let [first, second] = [(); 2].map(|()| parameter.zeros_like());
                AdaptiveMomentumState::new(0, first, second)
            });
            let time = momentum.time + 1;
            let tensors = [parameter, momentum.moment_1, momentum.moment_2];
            let [parameter, first, second] = flex::adamw(self, time, tensors, grad);
            let momentum = AdaptiveMomentumState::new(time, first, second);
            return (parameter, AdamWState::new(momentum));
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
