use burn::{
    module::AutodiffModule,
    optim::adaptor::OptimizerAdaptor,
    optim::{
        AdamW as PlainAdamW, AdamWConfig as PlainAdamWConfig, AdamWState, AdaptiveMomentumState,
        SimpleOptimizer,
    },
    tensor::{
        Device, Tensor,
        backend::{AutodiffBackend, Backend},
    },
};

use super::Schedule;
use crate::fused::{self, AdamWStep};

/// Configuration of [`AdamW`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWConfig {
    /// Decay rates of the two moments. b1.58 uses (0.9, 0.95).
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Gives the weight decay of every step.
    pub schedule: Schedule,
}

impl AdamWConfig {
    /// Creates the optimiser of a module.
    pub fn init<B, M>(&self) -> OptimizerAdaptor<AdamW, M, B>
    where
        B: AutodiffBackend,
        M: AutodiffModule<B>,
    {
        let adam = PlainAdamWConfig::new()
            .with_beta_1(self.betas.0 as f32)
            .with_beta_2(self.betas.1 as f32)
            .with_epsilon(self.epsilon as f32)
            .with_weight_decay(0.0)
            .build();
        AdamW { adam, config: *self }.into()
    }
}

/// AdamW (arXiv 1711.05101) whose decoupled weight decay is scheduled and reaches matrices only
/// (parameters of two or more dimensions): gains and biases do not decay.
///
/// The decay is a function of the number of steps a parameter has seen, which its state holds, so
/// that it survives a restart.
#[derive(Clone)]
pub struct AdamW {
    adam: PlainAdamW,
    config: AdamWConfig,
}

impl AdamW {
    /// The same step in one pass.
    fn step_fused<B: Backend, const D: usize>(
        &self,
        lr: f64,
        keep: f64,
        tensor: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<AdamWState<B, D>>,
    ) -> (Tensor<B, D>, Option<AdamWState<B, D>>) {
        let momentum = state.map(|state| state.momentum).unwrap_or_else(|| {
            AdaptiveMomentumState::new(0, tensor.zeros_like(), tensor.zeros_like())
        });
        let AdamWConfig { betas, epsilon, .. } = self.config;
        let step = AdamWStep {
            lr,
            keep,
            betas: (betas.0 as f32, betas.1 as f32),
            epsilon: epsilon as f32,
            time: momentum.time + 1,
        };
        let [tensor, moment_1, moment_2] =
            step.apply([tensor, momentum.moment_1, momentum.moment_2], grad);
        let momentum = AdaptiveMomentumState::new(step.time, moment_1, moment_2);
        (tensor, Some(AdamWState::new(momentum)))
    }
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
        if fused::applies(&tensor) {
            return self.step_fused(lr, 1.0 - decay, tensor, grad, state);
        }
        let tensor = if decay == 0.0 { tensor } else { tensor.mul_scalar(1.0 - decay) };
        self.adam.step(lr, tensor, grad, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device<B>) -> Self::State<D> {
        <PlainAdamW as SimpleOptimizer<B>>::to_device(state, device)
    }
}
