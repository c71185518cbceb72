use super::{
    CausalLm, FinishReason, GenerateError, GenerationConfig, Prefix, Prompt,
    sequence::{Sequence, read},
};
use crate::tokenizer::Tokenizer;

/// A generation under way: an iterator over pieces of text.
///
/// Once the model's context is full, its older half is dropped and the rest is read again, so
/// that a text may be longer than the context.
pub struct Generation<'a, M: CausalLm> {
    model: &'a M,
    sequence: Sequence<'a, M::Cache>,
}

impl<'a, M: CausalLm> Generation<'a, M> {
    /// Prepares to continue `prompt`.
    ///
    /// # Errors
    /// [`GenerateError::EmptyPrompt`], [`GenerateError::PromptTooLong`],
    /// [`GenerateError::InvalidSampling`], [`GenerateError::Tokenizer`], or
    /// [`ModelError::UnknownToken`](crate::ModelError::UnknownToken) in [`GenerateError::Model`].
    pub fn new<'p>(
        model: &'a M,
        tokenizer: &'a dyn Tokenizer,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<Self, GenerateError> {
        Self::after(Prefix::new(model.empty_cache()), model, tokenizer, prompt, config)
    }

    /// As [`new`](Self::new), but of the prompt reads only what does not stand at the beginning of
    /// `read`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn after<'p>(
        read: Prefix<M::Cache>,
        model: &'a M,
        tokenizer: &'a dyn Tokenizer,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<Self, GenerateError> {
        Ok(Self { model, sequence: Sequence::new(model, tokenizer, prompt.into(), config, read)? })
    }

    /// Number of tokens generated so far.
    pub fn generated(&self) -> usize {
        self.sequence.generated()
    }

    /// Why the generation ended; `None` while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.sequence.finished()
    }

    /// What has been read, for a prompt that begins with it.
    pub fn into_prefix(self) -> Prefix<M::Cache> {
        self.sequence.into_prefix()
    }

    /// Generates one token, and returns the text that it makes certain.
    fn next_token(&mut self) -> Result<String, GenerateError> {
        let logits = read(self.model, &mut [&mut self.sequence]).inspect_err(|_| {
            self.sequence.fail();
        })?;
        logits.into_iter().next().map_or(Ok(String::new()), |logits| self.sequence.push(logits))
    }
}

impl<M: CausalLm> Iterator for Generation<'_, M> {
    type Item = Result<String, GenerateError>;

    /// The next piece of text, never empty.
    fn next(&mut self) -> Option<Self::Item> {
        while self.sequence.finished().is_none() {
            let text = match self.sequence.end_at_length() {
                None => self.next_token(),
                Some(rest) => Ok(rest),
            };
            if text.as_ref().is_ok_and(String::is_empty) {
                continue;
            }
            return Some(text);
        }
        None
    }
}
