use std::sync::Arc;

use bitnet::{
    BitNetTransformer,
    data::Batch,
    evaluate::{Evaluation, WindowBatch},
    loss::cross_entropy,
};
use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::{
        Tensor,
        backend::{AutodiffBackend, Backend},
    },
};
use burn_train::{InferenceStep, TrainOutput, TrainStep};

use super::item::Item;
use crate::training::input::{teacher::Teacher, text::Text};

/// The transformer as burn-train's learner takes it.
#[derive(Module, Debug)]
pub struct LanguageModel<B: Backend> {
    /// The transformer.
    pub transformer: BitNetTransformer<B>,
}

impl<B: Backend> LanguageModel<B> {
    /// Wraps a transformer. Its parameters are numbered in their order: Burn's own numbers are
    /// random, and would make the checkpoints of equal runs differ.
    pub fn new(transformer: BitNetTransformer<B>) -> Self {
        Self { transformer: transformer.map(&mut Numbering { next: 0 }) }
    }
}

struct Numbering {
    next: u64,
}

impl<B: Backend> ModuleMapper<B> for Numbering {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let id = ParamId::from(self.next);
        self.next += 1;
        let (_, value, mapper) = param.consume();
        Param::from_mapped_value(id, value, mapper)
    }
}

/// One of the micro-batches of an optimiser step.
pub struct MicroBatch<B: AutodiffBackend> {
    /// Inputs and targets.
    pub batch: Batch<B>,
    /// Its share of the step, by which its loss counts: one over the number of micro-batches.
    pub share: f64,
    /// Whose predictions count beside the text, if there is one.
    pub teacher: Option<Teacher<B::InnerBackend>>,
}

/// What the passes of a micro-batch return: its gradients and its share of the loss.
pub type Passes<B> = TrainOutput<Item<Tensor<<B as AutodiffBackend>::InnerBackend, 1>>>;

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
    /// The micro-batch's share of the step's mean loss on the text, `[1]`, in nats per token.
    type Output = Item<Tensor<B::InnerBackend, 1>>;

    fn step(&self, input: MicroBatch<B>) -> TrainOutput<Self::Output> {
        self.passes(input, |_| {})
    }
}

impl<B: AutodiffBackend> LanguageModel<B> {
    /// Forward and backward pass of a micro-batch; `between` them gets the share of the loss that
    /// the step returns.
    pub fn passes(
        &self,
        input: MicroBatch<B>,
        between: impl FnOnce(&Tensor<B::InnerBackend, 1>),
    ) -> Passes<B> {
        let MicroBatch { batch: Batch { inputs, targets }, share, teacher } = input;
        let taught = teacher.map(|teacher| (teacher.logits(inputs.clone().inner()), teacher));
        let logits = self.transformer.forward(inputs).expect(FITS);
        let loss = cross_entropy(logits.clone(), targets);
        let value = loss.clone().inner().mul_scalar(share);
        let loss = match taught {
            Some((taught, teacher)) => teacher.mix(loss, logits, taught),
            None => loss,
        };
        between(&value);
        let grads = loss.mul_scalar(share).backward();
        TrainOutput::new(self, grads, Item::new(value))
    }
}

impl<B: Backend> InferenceStep for LanguageModel<B> {
    type Input = ValidationBatch;
    type Output = Item<Evaluation>;

    fn step(&self, input: ValidationBatch) -> Self::Output {
        let text = &input.text;
        let evaluation = input
            .windows
            .evaluate(&self.transformer, text.tokenizer.as_ref(), &text.held_out())
            .expect(FITS);
        Item::new(evaluation)
    }
}
