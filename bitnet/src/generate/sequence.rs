use super::{CausalLm, GenerateError, GenerationConfig, Prompt, Sampler, stop::StopFilter};
use crate::{
    nn::{ModelError, SequenceCache},
    tokenizer::{Tokenizer, Utf8Decoder},
};

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

/// Tokens of a sequence that have been read, with their keys and values: what a later prompt that
/// begins with them need not read again.
#[derive(Debug, Clone)]
pub struct Prefix<C> {
    tokens: Vec<u32>,
    cache: C,
}

impl<C: SequenceCache> Prefix<C> {
    /// The empty prefix: `cache` is emptied.
    pub fn new(mut cache: C) -> Self {
        cache.truncate(0);
        Self { tokens: Vec::new(), cache }
    }

    /// The tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }
}

/// A text under way: what has been read of it, how it goes on, and where it ends.
pub(super) struct Sequence<'a, C> {
    tokenizer: &'a dyn Tokenizer,
    cache: C,
    sampler: Sampler,
    decoder: Utf8Decoder,
    stop: StopFilter,
    stop_tokens: Vec<u32>,
    /// Prompt and generated tokens.
    tokens: Vec<u32>,
    /// Tokens at the end of `tokens` that are not in the cache.
    unread: usize,
    generated: usize,
    max_tokens: usize,
    max_seq_len: usize,
    finished: Option<FinishReason>,
}

impl<'a, C: SequenceCache> Sequence<'a, C> {
    /// Continues `prompt`, after as much of `read` as it begins with.
    pub(super) fn new<M: CausalLm<Cache = C>>(
        model: &M,
        tokenizer: &'a dyn Tokenizer,
        prompt: Prompt<'_>,
        config: &GenerationConfig,
        read: Prefix<C>,
    ) -> Result<Self, GenerateError> {
        let tokens = prompt.into_tokens(tokenizer)?;
        let max = model.config().max_seq_len;
        if tokens.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        if tokens.len() > max {
            return Err(GenerateError::PromptTooLong { actual: tokens.len(), max });
        }
        model.config().check_tokens(&tokens)?;
        let sampler = Sampler::new(config.sampling)?;
        let Prefix { tokens: before, mut cache } = read;
        let common = before.iter().zip(&tokens).take_while(|(a, b)| a == b).count();
        // The last token is read in any case, for the logits after it.
        let common = common.min(tokens.len() - 1);
        cache.truncate(common);
        Ok(Self {
            tokenizer,
            cache,
            sampler,
            decoder: Utf8Decoder::default(),
            stop: StopFilter::new(&config.stop),
            stop_tokens: config.stop_tokens.clone(),
            unread: tokens.len() - common,
            tokens,
            generated: 0,
            max_tokens: config.max_tokens,
            max_seq_len: max,
            finished: None,
        })
    }

    /// Number of tokens generated so far.
    pub(super) fn generated(&self) -> usize {
        self.generated
    }

    /// Why the generation ended; `None` while it goes on.
    pub(super) fn finished(&self) -> Option<FinishReason> {
        self.finished
    }

    /// What has been read.
    pub(super) fn into_prefix(self) -> Prefix<C> {
        let end = self.tokens.len() - self.unread;
        let tokens = self.tokens[end - self.cache.len()..end].to_vec();
        Prefix { tokens, cache: self.cache }
    }

    /// Ends the generation if it has all its tokens, and returns the text that was held back.
    pub(super) fn end_at_length(&mut self) -> Option<String> {
        (self.generated >= self.max_tokens).then(|| self.finish(FinishReason::Length))
    }

    /// What is to be read next. Once the context is full, the older half of it is dropped.
    fn unread(&mut self) -> (&mut C, &[u32]) {
        if self.cache.len() + self.unread > self.max_seq_len {
            self.cache.truncate(0);
            self.unread = self.max_seq_len.div_ceil(2);
        }
        (&mut self.cache, &self.tokens[self.tokens.len() - self.unread..])
    }

    /// Draws a token from the logits after what was read, and returns the text that it makes
    /// certain.
    pub(super) fn push(&mut self, logits: Vec<f32>) -> Result<String, GenerateError> {
        self.unread = 0;
        let token = self.sampler.sample(logits, &self.tokens).inspect_err(|_| self.fail())?;
        self.tokens.push(token);
        self.unread = 1;
        self.generated += 1;
        if Some(token) == self.tokenizer.end_of_text() || self.stop_tokens.contains(&token) {
            return Ok(self.finish(FinishReason::EndOfText));
        }
        let text = self.decoder.push(&self.tokenizer.decode(&[token]));
        let (text, stopped) = self.stop.push(&text);
        if stopped {
            self.finished = Some(FinishReason::Stop);
        }
        Ok(text)
    }

    /// Ends the generation with an error.
    pub(super) fn fail(&mut self) {
        self.finished = Some(FinishReason::Error);
    }

    /// Ends the generation and returns the text that was held back.
    fn finish(&mut self, reason: FinishReason) -> String {
        self.finished = Some(reason);
        let (mut text, stopped) = self.stop.push(&self.decoder.finish());
        if !stopped {
            text.push_str(&self.stop.finish());
        }
        text
    }
}

/// Reads what is new of some sequences in one forward pass, and returns the logits after each.
pub(super) fn read<M: CausalLm>(
    model: &M,
    sequences: &mut [&mut Sequence<'_, M::Cache>],
) -> Result<Vec<Vec<f32>>, ModelError> {
    let mut batch: Vec<_> = sequences.iter_mut().map(|sequence| sequence.unread()).collect();
    let mut logits = model.next_logits(&mut batch)?;
    let vocabulary = model.config().num_tokens;
    let rest = (1..sequences.len()).rev().map(|row| logits.split_off(row * vocabulary));
    let mut rows: Vec<Vec<f32>> = rest.collect();
    rows.extend((!logits.is_empty()).then_some(logits));
    rows.reverse();
    Ok(rows)
}
