use super::Settings;
use crate::{
    engine::Engine,
    generate::{
        CausalLm, GenerateError, Generation, GenerationBatch, GenerationConfig, Prefix, Prompt,
    },
    nn::BitNetTransformer,
    tokenizer::Tokenizer,
};

/// A model with the tokenizer that it was trained with, and how it is to be used.
pub struct TextModel<M> {
    /// The model.
    pub model: M,
    /// Its tokenizer.
    pub tokenizer: Box<dyn Tokenizer>,
    /// How it is to be used.
    pub settings: Settings,
}

/// A model with latent weights, on a device of the backend `B`.
pub type FloatModel<B> = TextModel<BitNetTransformer<B>>;

/// A model with packed weights, on the CPU.
pub type PackedModel = TextModel<Engine>;

impl<M: CausalLm> TextModel<M> {
    /// Continues `prompt`, and returns the new text alone. Before a text the model reads what its
    /// [`Settings`] say, and their tokens end the generation too.
    ///
    /// # Errors
    /// [`GenerateError`] for an unusable prompt or sampling parameter.
    pub fn generate<'p>(
        &self,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<String, GenerateError> {
        self.stream(prompt, config)?.collect()
    }

    /// As [`generate`](Self::generate), piece by piece as the text is made.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn stream<'p>(
        &self,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<Generation<'_, M>, GenerateError> {
        self.stream_after(Prefix::new(self.model.empty_cache()), prompt, config)
    }

    /// As [`stream`](Self::stream), but of the prompt reads only what does not stand at the
    /// beginning of `read`.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn stream_after<'p>(
        &self,
        read: Prefix<M::Cache>,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<Generation<'_, M>, GenerateError> {
        let tokenizer = self.tokenizer.as_ref();
        let prompt = self.settings.with_bos(prompt.into(), tokenizer)?;
        let config = self.settings.with_stop_tokens(config);
        Generation::after(read, &self.model, tokenizer, prompt, &config)
    }

    /// As [`generate`](Self::generate), for several prompts at a time.
    ///
    /// # Errors
    /// As [`generate`](Self::generate), of the first prompt that fails.
    pub fn generate_all<'p, P: Into<Prompt<'p>>>(
        &self,
        prompts: impl IntoIterator<Item = P>,
        config: &GenerationConfig,
    ) -> Result<Vec<String>, GenerateError> {
        let tokenizer = self.tokenizer.as_ref();
        let config = self.settings.with_stop_tokens(config);
        let mut batch = GenerationBatch::new(&self.model, tokenizer);
        let mut texts = Vec::new();
        for prompt in prompts {
            let prompt = self.settings.with_bos(prompt.into(), tokenizer)?;
            texts.push((batch.push(prompt, &config)?, String::new()));
        }
        while !batch.is_finished() {
            for (id, piece) in batch.step()? {
                let text = texts.iter_mut().find(|(other, _)| *other == id);
                let piece: String = piece?;
                text.into_iter().for_each(|(_, text)| text.push_str(&piece));
            }
        }
        Ok(texts.into_iter().map(|(_, text)| text).collect())
    }
}
