use bitnet::{evaluate::Evaluation, generate::Generation};
use burn::{data::dataloader::DataLoader, tensor::backend::Backend};
use burn_train::{InferenceStep, Interrupter};

use crate::{
    config::Config,
    training::{
        input::text::Text,
        learner::model::{LanguageModel, ValidationBatch},
    },
};

/// The loss over all windows of a loader; `None` if it was interrupted.
pub fn evaluate<B: Backend>(
    model: &LanguageModel<B>,
    windows: &dyn DataLoader<B, ValidationBatch>,
    interrupter: &Interrupter,
) -> Option<Evaluation> {
    let mut sum = Evaluation::default();
    for batch in windows.iter() {
        if interrupter.should_stop() {
            return None;
        }
        sum.add(model.step(batch).value);
    }
    Some(sum)
}

/// As [`evaluate`], where there may be no model.
pub fn evaluate_if_any<B: Backend>(
    model: Option<&LanguageModel<B>>,
    windows: &dyn DataLoader<B, ValidationBatch>,
    interrupter: &Interrupter,
) -> Option<Option<Evaluation>> {
    match model {
        Some(model) => evaluate(model, windows, interrupter).map(Some),
        None => Some(None),
    }
}

/// The sample of a step: the prompt and its continuation; `None` if it was interrupted.
///
/// # Errors
/// If the prompt or a sampling parameter cannot be used.
pub fn sample<B: Backend>(
    model: &LanguageModel<B>,
    text: &Text,
    config: &Config,
    interrupter: &Interrupter,
) -> anyhow::Result<Option<String>> {
    let section = &config.sample;
    let generation_config = section.generation(config.seed);
    let generation = Generation::new(
        &model.transformer,
        text.tokenizer.as_ref(),
        &section.prompt,
        &generation_config,
    )?;
    let mut sample = section.prompt.clone();
    for piece in generation {
        if interrupter.should_stop() {
            return Ok(None);
        }
        sample += &piece?;
    }
    Ok(Some(sample))
}
