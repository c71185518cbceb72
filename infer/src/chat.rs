//! Chats with a model.

use bitnet::{
    chat::{ChatError, Message, Role},
    generate::{CausalLm, GenerateError, Generation, GenerationConfig, Prefix},
    pretrained::TextModel,
};
use thiserror::Error;

/// A question that cannot be answered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The model has no chat template, or it cannot be followed.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The question is too long, or a sampling parameter is out of range.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

impl SessionError {
    /// Whether the question alone does not fit the model's context: another one may.
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::Generate(GenerateError::PromptTooLong { .. }))
    }
}

/// A chat: what was said, and what the model has read of it, so that of each turn only what is new
/// is read.
///
/// Where a chat becomes longer than the model's context, its oldest turns are left out; the
/// system's message stays.
///
/// The first answer is drawn from the seed of the configuration, as a generation from the same
/// prompt is; each later one from a seed that follows from that one and from how many were begun
/// before. So the same seed and questions make the same chat, and no two turns share their draws.
pub struct Chat<'m, M: CausalLm> {
    model: &'m TextModel<M>,
    config: GenerationConfig,
    system: Option<Message>,
    /// Questions and answers in turns.
    turns: Vec<Message>,
    read: Option<Prefix<M::Cache>>,
    /// Answers begun so far, kept or not.
    begun: u64,
}

impl<'m, M: CausalLm> Chat<'m, M> {
    /// Begins a chat. Answers end as `config` says, and at the end of the model's turn.
    ///
    /// # Errors
    /// [`ChatError::Missing`] if the model has no chat template.
    pub fn new(
        model: &'m TextModel<M>,
        system: Option<&str>,
        mut config: GenerationConfig,
    ) -> Result<Self, SessionError> {
        let template = model.settings.chat.as_ref().ok_or(ChatError::Missing)?;
        config.stop_tokens.extend(template.end_of_turn(model.tokenizer.as_ref()));
        let system = system.map(|system| Message::new(Role::System, system));
        Ok(Self { model, config, system, turns: Vec::new(), read: None, begun: 0 })
    }

    /// Questions and answers, in turns, that the model still knows.
    pub fn turns(&self) -> &[Message] {
        &self.turns
    }

    /// Adds a question and its answer that were given elsewhere.
    pub fn tell(&mut self, question: &str, answer: &str) {
        let question = Message::new(Role::User, question);
        self.turns.extend([question, Message::new(Role::Assistant, answer)]);
    }

    /// Asks a question. It becomes a part of the chat with [`Answer::keep`].
    ///
    /// # Errors
    /// [`SessionError::Chat`] if the template cannot be followed, [`SessionError::Generate`] if the
    /// question alone is too long or a sampling parameter is out of range. The chat is as before
    /// then.
    pub fn ask(&mut self, question: &str) -> Result<Answer<'_, 'm, M>, SessionError> {
        let question = Message::new(Role::User, question);
        let max = self.model.model.config().max_seq_len;
        let mut forgotten = 0;
        let prompt = loop {
            let turns = self.turns[forgotten..].iter().chain([&question]);
            let messages: Vec<Message> = self.system.iter().chain(turns).cloned().collect();
            let tokenizer = self.model.tokenizer.as_ref();
            let tokens = self.model.settings.chat_prompt(&messages, tokenizer)?;
            match tokens.len() {
                // A question and its answer less.
                actual if actual > max && forgotten < self.turns.len() => forgotten += 2,
                actual if actual > max => {
                    return Err(GenerateError::PromptTooLong { actual, max }.into());
                }
                _ => break tokens,
            }
        };
        let read = self.read.take().unwrap_or_else(|| Prefix::new(self.model.model.empty_cache()));
        let mut config = self.config.clone();
        config.sampling.seed = seed_of_turn(config.sampling.seed, self.begun);
        let generation = self.model.stream_after(read, prompt, &config)?;
        self.begun += 1;
        self.turns.drain(..forgotten);
        Ok(Answer { chat: self, question, generation, text: String::new(), forgotten })
    }
}

/// The seed of an answer before which `begun` were begun: that of the chat for the first, else as
/// SplitMix64 mixes it (Steele et al. 2014), so that chats of neighbouring seeds share no draws.
fn seed_of_turn(seed: u64, begun: u64) -> u64 {
    if begun == 0 {
        return seed;
    }
    let mixed = seed.wrapping_add(begun.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// An answer under way: an iterator over its pieces.
pub struct Answer<'c, 'm, M: CausalLm> {
    chat: &'c mut Chat<'m, M>,
    question: Message,
    generation: Generation<'m, M>,
    text: String,
    forgotten: usize,
}

impl<M: CausalLm> Answer<'_, '_, M> {
    /// How many of the oldest messages were left out of the chat for this answer.
    pub fn forgotten(&self) -> usize {
        self.forgotten
    }

    /// Number of tokens generated so far.
    pub fn generated(&self) -> usize {
        self.generation.generated()
    }

    /// Makes the question and what there is of the answer a part of the chat. Without it, both are
    /// forgotten.
    pub fn keep(self) {
        self.chat.turns.extend([self.question, Message::new(Role::Assistant, self.text)]);
        self.chat.read = Some(self.generation.into_prefix());
    }
}

impl<M: CausalLm> Iterator for Answer<'_, '_, M> {
    type Item = Result<String, GenerateError>;

    /// The next piece of text, never empty.
    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.generation.next()?;
        if let Ok(piece) = &piece {
            self.text.push_str(piece);
        }
        Some(piece)
    }
}
