use super::{
    CausalLm, FinishReason, GenerateError, GenerationConfig, Prefix, Prompt,
    sequence::{Sequence, read},
};
use crate::{nn::ModelError, tokenizer::Tokenizer};

/// Several generations under way, of which each step generates one token in one forward pass for
/// all. Sequences may be added and removed between any two steps; each has a prompt, a
/// configuration and a position of its own.
///
/// ```
/// use bitnet::{
///     BitNetTransformerConfig,
///     generate::{GenerationBatch, GenerationConfig},
///     tokenizer::ByteTokenizer,
/// };
/// # type B = burn_flex::Flex;
///
/// let model = BitNetTransformerConfig::new(256, 32, 2).init::<B>(&Default::default())?;
/// let config = GenerationConfig { max_tokens: 5, ..GenerationConfig::default() };
/// let mut batch = GenerationBatch::new(&model, &ByteTokenizer);
/// let first = batch.push("In the", &config)?;
/// let second = batch.push("A longer prompt", &config)?;
/// let mut texts = [String::new(), String::new()];
/// while !batch.is_finished() {
///     for (id, piece) in batch.step()? {
///         texts[usize::from(id == second)] += &piece?;
///     }
/// }
/// assert!(batch.finish_reason(first).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct GenerationBatch<'a, M: CausalLm> {
    model: &'a M,
    tokenizer: &'a dyn Tokenizer,
    sequences: Vec<(SequenceId, Sequence<'a, M::Cache>)>,
    next: usize,
}

/// Names a sequence of a [`GenerationBatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(usize);

impl<'a, M: CausalLm> GenerationBatch<'a, M> {
    /// A batch without sequences.
    pub fn new(model: &'a M, tokenizer: &'a dyn Tokenizer) -> Self {
        Self { model, tokenizer, sequences: Vec::new(), next: 0 }
    }

    /// Adds a sequence that continues `prompt`.
    ///
    /// # Errors
    /// As [`Generation::new`](super::Generation::new).
    pub fn push<'p>(
        &mut self,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<SequenceId, GenerateError> {
        self.push_after(Prefix::new(self.model.empty_cache()), prompt, config)
    }

    /// As [`push`](Self::push), but of the prompt reads only what does not stand at the beginning
    /// of `read`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_after<'p>(
        &mut self,
        read: Prefix<M::Cache>,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<SequenceId, GenerateError> {
        let sequence = Sequence::new(self.model, self.tokenizer, prompt.into(), config, read)?;
        let id = SequenceId(self.next);
        self.next += 1;
        self.sequences.push((id, sequence));
        Ok(id)
    }

    /// Takes a sequence out, finished or not, and returns what has been read of it; `None` if it is
    /// not there.
    pub fn remove(&mut self, id: SequenceId) -> Option<Prefix<M::Cache>> {
        let index = self.sequences.iter().position(|(other, _)| *other == id)?;
        Some(self.sequences.remove(index).1.into_prefix())
    }

    /// Whether no sequence goes on.
    pub fn is_finished(&self) -> bool {
        self.sequences.iter().all(|(_, sequence)| sequence.finished().is_some())
    }

    /// Why the generation of a sequence ended; `None` while it goes on, or if it is not there.
    pub fn finish_reason(&self, id: SequenceId) -> Option<FinishReason> {
        self.get(id)?.finished()
    }

    /// Number of tokens generated so far; `None` if the sequence is not there.
    pub fn generated(&self, id: SequenceId) -> Option<usize> {
        Some(self.get(id)?.generated())
    }

    fn get(&self, id: SequenceId) -> Option<&Sequence<'a, M::Cache>> {
        self.sequences.iter().find(|(other, _)| *other == id).map(|(_, sequence)| sequence)
    }

    /// Generates one token for each sequence that goes on. Returns the pieces of text that are
    /// certain now, and what has failed, in the order in which the sequences were added; an empty
    /// piece is left out.
    ///
    /// # Errors
    /// If the forward pass fails, which ends all sequences.
    #[allow(clippy::type_complexity, reason = "a list of results is what it is")]
    pub fn step(&mut self) -> Result<Vec<(SequenceId, Result<String, GenerateError>)>, ModelError> {
        let mut pieces = Vec::new();
        let mut ids = Vec::new();
        let mut reading = Vec::new();
        for (id, sequence) in &mut self.sequences {
            if sequence.finished().is_some() {
                continue;
            }
            match sequence.end_at_length() {
                None => {
                    ids.push(*id);
                    reading.push(sequence);
                }
                Some(rest) => pieces.push((*id, Ok(rest))),
            }
        }
        let logits = read(self.model, &mut reading).inspect_err(|_| {
            reading.iter_mut().for_each(|sequence| sequence.fail());
        })?;
        for ((id, sequence), logits) in ids.into_iter().zip(reading).zip(logits) {
            pieces.push((id, sequence.push(logits)));
        }
        pieces.sort_by_key(|(id, _)| *id);
        pieces.retain(is_shown);
        Ok(pieces)
    }
}

fn is_shown((_, piece): &(SequenceId, Result<String, GenerateError>)) -> bool {
    piece.as_ref().map_or(true, |text| !text.is_empty())
}
