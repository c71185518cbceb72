use burn::tensor::backend::Backend;

use super::{
    GenerateError, Prompt, Sampler, Sampling,
    reader::{EngineReader, ModelReader, Reader},
    stop::StopFilter,
};
use crate::{
    engine::Engine,
    model::BitNetTransformer,
    tokenizer::{Tokenizer, Utf8Decoder},
};

/// What to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Texts that end the generation; they are not part of it.
    pub stop: Vec<String>,
    /// Tokens that end the generation, besides the tokenizer's
    /// [`end_of_text`](Tokenizer::end_of_text); they are not part of it.
    pub ends: Vec<u32>,
}

impl Default for GenerationConfig {
    /// 256 tokens at temperature 1, nothing else that ends them.
    fn default() -> Self {
        let sampling = Sampling::default();
        Self { max_tokens: 256, sampling, stop: Vec::new(), ends: Vec::new() }
    }
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// `max_tokens` were generated.
    Length,
    /// A stop text was met.
    Stop,
    /// The model ended the document, or its turn.
    EndOfText,
    /// An error was returned.
    Error,
}

/// A generation under way: an iterator over pieces of text.
///
/// Once the model's context is full, its older half is dropped and the rest is read again, so
/// that a text may be longer than the context.
pub struct Generation<'a> {
    reader: Box<dyn Reader + 'a>,
    tokenizer: &'a dyn Tokenizer,
    sampler: Sampler,
    decoder: Utf8Decoder,
    stop: StopFilter,
    ends: Vec<u32>,
    /// Prompt and generated tokens.
    tokens: Vec<u32>,
    /// Tokens at the end of `tokens` that were not read yet.
    unread: usize,
    generated: usize,
    max_tokens: usize,
    finished: Option<FinishReason>,
}

impl<'a> Generation<'a> {
    /// Prepares to continue `prompt`.
    ///
    /// # Errors
    /// [`GenerateError::EmptyPrompt`], [`GenerateError::PromptTooLong`],
    /// [`GenerateError::InvalidSampling`] or [`GenerateError::Tokenizer`].
    pub fn new<'p, B: Backend>(
        model: &'a BitNetTransformer<B>,
        tokenizer: &'a dyn Tokenizer,
        device: &B::Device,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<Self, GenerateError> {
        Self::start(Box::new(ModelReader::new(model, device)), tokenizer, prompt.into(), config)
    }

    /// As [`new`](Self::new), with packed weights.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn packed<'p>(
        engine: &'a Engine,
        tokenizer: &'a dyn Tokenizer,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<Self, GenerateError> {
        Self::start(Box::new(EngineReader::new(engine)), tokenizer, prompt.into(), config)
    }

    fn start(
        reader: Box<dyn Reader + 'a>,
        tokenizer: &'a dyn Tokenizer,
        prompt: Prompt<'_>,
        config: &GenerationConfig,
    ) -> Result<Self, GenerateError> {
        let tokens = prompt.into_tokens(tokenizer)?;
        let max = reader.max_seq_len();
        if tokens.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        if tokens.len() > max {
            return Err(GenerateError::PromptTooLong { actual: tokens.len(), max });
        }
        Ok(Self {
            reader,
            tokenizer,
            sampler: Sampler::new(config.sampling)?,
            decoder: Utf8Decoder::default(),
            stop: StopFilter::new(&config.stop),
            ends: config.ends.clone(),
            unread: tokens.len(),
            tokens,
            generated: 0,
            max_tokens: config.max_tokens,
            finished: None,
        })
    }

    /// Number of tokens generated so far.
    pub fn generated(&self) -> usize {
        self.generated
    }

    /// Why the generation ended; `None` while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finished
    }

    /// Generates one token.
    fn next_token(&mut self) -> Result<u32, GenerateError> {
        let max = self.reader.max_seq_len();
        if self.reader.len() + self.unread > max {
            self.reader.clear();
            self.unread = max.div_ceil(2);
        }
        let logits = self.reader.read(&self.tokens[self.tokens.len() - self.unread..])?;
        let token = self.sampler.sample(logits, &self.tokens)?;
        self.tokens.push(token);
        self.unread = 1;
        self.generated += 1;
        Ok(token)
    }

    /// Ends the generation and gives the text that was held back.
    fn finish(&mut self, reason: FinishReason) -> String {
        self.finished = Some(reason);
        let (mut text, stopped) = self.stop.push(&self.decoder.finish());
        if !stopped {
            text.push_str(&self.stop.finish());
        }
        text
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<String, GenerateError>;

    /// The next piece of text, never empty.
    fn next(&mut self) -> Option<Self::Item> {
        while self.finished.is_none() {
            if self.generated >= self.max_tokens {
                let text = self.finish(FinishReason::Length);
                return (!text.is_empty()).then_some(Ok(text));
            }
            let token = match self.next_token() {
                Ok(token) => token,
                Err(error) => {
                    self.finished = Some(FinishReason::Error);
                    return Some(Err(error));
                }
            };
            if Some(token) == self.tokenizer.end_of_text() || self.ends.contains(&token) {
                let text = self.finish(FinishReason::EndOfText);
                return (!text.is_empty()).then_some(Ok(text));
            }
            let text = self.decoder.push(&self.tokenizer.decode(&[token]));
            let (text, stopped) = self.stop.push(&text);
            if stopped {
                self.finished = Some(FinishReason::Stop);
            }
            if !text.is_empty() {
                return Some(Ok(text));
            }
        }
        None
    }
}
