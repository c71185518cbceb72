use std::path::Path;

use anyhow::{Context, ensure};
use bitnet::{
    BitNetTransformer, backend::BackendVisitor, loss::distillation, pretrained::FloatModel,
    storage::read_input, tokenizer::Tokenizer,
};
use burn::tensor::{
    Int, Tensor,
    backend::{AutodiffBackend, Backend},
};
use sha2::{Digest, Sha256};

use crate::{config::Config, training::hex::hex};

/// What makes up a model folder.
const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// A trained model, from whose predictions another one learns. It gets no gradient.
#[derive(Debug, Clone)]
pub struct Teacher<B: Backend> {
    model: BitNetTransformer<B>,
    weight: f64,
    temperature: f64,
}

impl<B: Backend> Teacher<B> {
    /// Reads the teacher of a configuration, if it has one.
    ///
    /// # Errors
    /// If it cannot be read, or has another tokenizer or a shorter context.
    pub fn load(
        config: &Config,
        tokenizer: &dyn Tokenizer,
        device: &B::Device,
    ) -> anyhow::Result<Option<Self>> {
        let Some(path) = &config.distill.teacher else { return Ok(None) };
        let load = || {
            let FloatModel { model, tokenizer: own, .. } =
                FloatModel::<B>::load(Path::new(path), device)?;
            ensure!(
                own.vocab_size() == tokenizer.vocab_size(),
                "it predicts {} tokens, the text has {}",
                own.vocab_size(),
                tokenizer.vocab_size()
            );
            ensure!(own.to_json() == tokenizer.to_json(), "its tokenizer is not that of the text");
            let (has, context) = (model.config().max_seq_len, config.model.context);
            ensure!(has >= context, "its context is {has}, model.context is {context}");
            Ok(model.with_precision(config.backend.precision))
        };
        let model = load().with_context(|| format!("the teacher {path} cannot be used"))?;
        let (weight, temperature) = (config.distill.weight, config.distill.temperature);
        Ok(Some(Self { model, weight, temperature }))
    }

    /// The teacher's logits for some windows, `[batch, seq, vocab]`. Windows are as long as the
    /// context at most, which was compared when it was read.
    pub fn logits(&self, inputs: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        self.model.forward(inputs).expect("the teacher's context is as long as that of the windows")
    }

    /// Mixes the loss of the text with the distance of the student's predictions, `logits`, from
    /// the teacher's.
    pub fn mix<A: AutodiffBackend<InnerBackend = B>>(
        &self,
        loss: Tensor<A, 1>,
        logits: Tensor<A, 3>,
        taught: Tensor<B, 3>,
    ) -> Tensor<A, 1> {
        let distance = distillation(logits, Tensor::from_inner(taught), self.temperature);
        loss.mul_scalar(1.0 - self.weight) + distance.mul_scalar(self.weight)
    }
}

/// Checks that the teacher of a configuration can be used, and returns the SHA-256 of its files: a
/// run that goes on must have the same one. `None` without a teacher.
///
/// # Errors
/// As [`Teacher::load`].
pub fn check(config: &Config, tokenizer: &dyn Tokenizer) -> anyhow::Result<Option<String>> {
    let Some(path) = &config.distill.teacher else { return Ok(None) };
    config.backend.visit(Check { config, tokenizer })??;
    let mut hash = Sha256::new();
    for name in FILES {
        let path = Path::new(path).join(name);
        let bytes = read_input(&path).with_context(|| format!("cannot read {}", path.display()))?;
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    Ok(Some(hex(&hash.finalize())))
}

struct Check<'a> {
    config: &'a Config,
    tokenizer: &'a dyn Tokenizer,
}

impl BackendVisitor for Check<'_> {
    type Output = anyhow::Result<()>;

    fn visit<B: Backend>(self, device: B::Device) -> Self::Output {
        Teacher::<B>::load(self.config, self.tokenizer, &device).map(|_| ())
    }
}
