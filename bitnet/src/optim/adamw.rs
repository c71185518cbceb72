use burn::{
    module::AutodiffModule,
    optim::adaptor::OptimizerAdaptor,
    optim::{AdamW as PlainAdamW, AdamWState, SimpleOptimizer},
    tensor::{
        Device, Tensor,
        backend::{AutodiffBackend, Backend},
    },
};

use super::Schedule;
use crate::ops::adamw::AdamWStep;

/// Configuration of [`AdamW`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay rates of the two moments. b1.58 uses (0.9, 0.95).
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Its weight decay is that of every step.
    pub schedule: Schedule,
}

impl AdamWConfig {
    /// Creates the optimiser of a module.
    pub fn init<B, M>(&self) -> OptimizerAdaptor<AdamW, M, B>
    where
        B: AutodiffBackend,
        M: AutodiffModule<B>,
    {
        AdamW { config: *self }.into()
    }
}

/// AdamW (arXiv 1711.05101) whose decoupled weight decay is scheduled and reaches matrices only
/// (parameters of two or more dimensions): gains and biases do not decay.
///
/// The decay is a function of the number of steps a parameter has seen, which its state holds, so
/// that it survives a restart.
#[derive(Clone)]
pub struct AdamW {
    config: AdamWConfig,
}

impl<B: Backend> SimpleOptimizer<B> for AdamW {
    type State<const D: usize> = AdamWState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let steps = state.as_ref().map_or(0, |state| state.momentum.time as u64);
        let decay = if D >= 2 { lr * self.config.schedule.weight_decay(steps) } else { 0.0 };
        let AdamWConfig { betas, epsilon, .. } = self.config;
        let step = AdamWStep {
            lr,
            keep: 1.0 - decay,
            betas: (betas.0 as f32, betas.1 as f32),
            epsilon: epsilon as f32,
        };
        let (tensor, state) = step.apply(tensor, grad, state);
        (tensor, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device<B>) -> Self::State<D> {
        <PlainAdamW as SimpleOptimizer<B>>::to_device(state, device)
    }
}
