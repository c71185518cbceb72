//! An optimiser step, which runs and `train bench` take alike.

pub mod workers;

use bitnet::optim::clip_global_norm;
use burn::{
    module::Module,
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{Tensor, backend::AutodiffBackend},
};
use burn_train::{Learner, TrainStep};

use self::workers::Workers;
use super::learner::{
    Components,
    model::{LanguageModel, MicroBatch, Passes},
};

/// A loss and the norm of the gradient, `[1]` each, on the device.
pub type StepResult<B> = (
    Tensor<<B as AutodiffBackend>::InnerBackend, 1>,
    Tensor<<B as AutodiffBackend>::InnerBackend, 1>,
);

/// One optimiser step: forward and backward passes of its micro-batches, some of them at the same
/// time, the clipped sum of their gradients, and the update.
pub struct Step<'a, B: AutodiffBackend> {
    /// Compute the micro-batches.
    pub workers: &'a Workers,
    /// Highest norm of the gradient; zero for no limit.
    pub clip: f64,
    /// How much of the quantisation counts.
    pub quant_strength: f64,
    /// Where the model is.
    pub device: &'a B::Device,
}

impl<B: AutodiffBackend> Step<'_, B> {
    /// Updates the learner's model. Returns the mean loss and the norm of the gradient.
    pub fn take(
        &self,
        learner: &mut Learner<Components<B>>,
        micro_batches: Vec<MicroBatch<B>>,
    ) -> StepResult<B> {
        self.take_with(learner, micro_batches, TrainStep::step)
    }

    /// As [`take`](Self::take), with the passes of a micro-batch computed by `passes`, which may
    /// look at the clock.
    pub fn take_with(
        &self,
        learner: &mut Learner<Components<B>>,
        micro_batches: Vec<MicroBatch<B>>,
        passes: impl Fn(&LanguageModel<B>, MicroBatch<B>) -> Passes<B> + Sync,
    ) -> StepResult<B> {
        // What is saved and validated is the learner's own, which is quantised at full strength.
        let mut model = learner.model();
        model.transformer.set_quant_strength(self.quant_strength);
        let mut loss = Tensor::zeros([1], self.device);
        let mut accumulator = GradientsAccumulator::<LanguageModel<B>>::new();
        let mut rest = micro_batches.into_iter();
        while rest.len() > 0 {
            let work = rest
                .by_ref()
                .take(self.workers.count())
                .map(|batch| {
                    // A fork has autodiff nodes of its own: the passes do not wait for one another.
                    let model = model.clone().fork(self.device);
                    let passes = &passes;
                    move || passes(&model, batch)
                })
                .collect();
            // Added in the order of the batches, so that the sum does not depend on timing.
            for output in self.workers.run(work) {
                loss = loss + output.item.value;
                accumulator.accumulate(&model, output.grads);
            }
        }
        let max_norm = if self.clip > 0.0 { self.clip } else { f64::INFINITY };
        let (grads, norm): (GradientsParams, _) =
            clip_global_norm(&model, accumulator.grads(), max_norm);
        // The learner's own clone of the parameters is then the only one.
        drop(model);
        learner.lr_step();
        learner.optimizer_step(grads);
        (loss, norm)
    }
}
