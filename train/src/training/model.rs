use std::sync::Arc;

use bitnet::{
    BitNetTransformer,
    data::Batch,
    evaluate::{Evaluation, WindowBatch},
    loss::cross_entropy,
};
use burn::{
    module::Module,
    tensor::{
        Tensor,
        backend::{AutodiffBackend, Backend},
    },
};
use burn_train::{InferenceStep, TrainOutput, TrainStep};

use super::{item::Item, text::Text};

/// The transformer as burn-train's learner sees it.
#[derive(Module, Debug)]
pub struct LanguageModel<B: Backend> {
    /// The transformer.
    pub transformer: BitNetTransformer<B>,
}

/// One of the micro-batches of an optimiser step.
pub struct MicroBatch<B: Backend> {
    /// Inputs and targets.
    pub batch: Batch<B>,
    /// Its share of the step, by which its loss counts: one over the number of micro-batches.
    pub share: f64,
}

/// Some windows of the held-out text.
pub struct ValidationBatch {
    /// The windows.
    pub windows: WindowBatch,
    /// The text.
    pub text: Arc<Text>,
}

/// Window lengths are checked against the context when the configuration is read.
const FITS: &str = "windows are as long as the context at most";

impl<B: AutodiffBackend> TrainStep for LanguageModel<B> {
    type Input = MicroBatch<B>;
    /// The micro-batch's share of the step's mean loss, `[1]`, in nats a token.
    type Output = Item<Tensor<B::InnerBackend, 1>>;

    fn step(&self, input: MicroBatch<B>) -> TrainOutput<Self::Output> {
        let logits = self.transformer.forward(input.batch.inputs).expect(FITS);
        let loss = cross_entropy(logits, input.batch.targets).mul_scalar(input.share);
        let value = loss.clone().inner();
        let grads = loss.backward();
        TrainOutput::new(self, grads, Item::new(value))
    }
}

impl<B: Backend> InferenceStep for LanguageModel<B> {
    type Input = ValidationBatch;
    type Output = Item<Evaluation>;

    fn step(&self, input: ValidationBatch) -> Self::Output {
        let text = &input.text;
        let device = self.transformer.embed_tokens.weight.device();
        let evaluation = input
            .windows
            .evaluate(&self.transformer, text.tokenizer.as_ref(), text.held_out(), &device)
            .expect(FITS);
        Item::new(evaluation)
    }
}
