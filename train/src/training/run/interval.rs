use burn::tensor::{ElementConversion, Tensor, backend::AutodiffBackend};

use crate::training::{state::IntervalState, step::StepResult};

/// Sums since the last log line, kept on the device: reading them waits for it.
pub struct Interval<B: AutodiffBackend> {
    loss: Tensor<B::InnerBackend, 1>,
    norm: Tensor<B::InnerBackend, 1>,
}

impl<B: AutodiffBackend> Interval<B> {
    /// Goes on from sums that were read before.
    pub fn new(state: IntervalState, device: &B::Device) -> Self {
        let loss = Tensor::from_floats([state.loss], device);
        Self { loss, norm: Tensor::zeros([1], device) }
    }

    /// Adds the result of a step.
    pub fn add(&mut self, (loss, norm): StepResult<B>) {
        self.loss = self.loss.clone() + loss;
        self.norm = norm;
    }

    /// Sum of the losses, and norm of the last gradient.
    pub fn read(&self) -> (f32, f64) {
        (self.loss.clone().into_scalar().elem(), self.norm.clone().into_scalar().elem())
    }
}
