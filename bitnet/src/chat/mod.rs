//! Chats: messages become the text that a model was trained to answer, by the template that its
//! files have.
//!
//! ```
//! use bitnet::chat::{ChatTemplate, Message, Role};
//!
//! let source = "{% for message in messages %}{{ message.role | capitalize }}: \
//!               {{ message.content | trim }}\n{% endfor %}Assistant:";
//! let template = ChatTemplate::new(source, "", "");
//! let messages = [Message::new(Role::User, "What is one half of eight? ")];
//! assert_eq!(template.render(&messages)?, "User: What is one half of eight?\nAssistant:");
//! # Ok::<(), bitnet::chat::ChatError>(())
//! ```
//!
//! Templates see messages and `bos_token`, `eos_token` and `add_generation_prompt` as those of
//! `transformers` do, but a text only as something that stands for it, with its white space around
//! it: they can put it anywhere, drop it, repeat it, and cut off that white space. A condition on
//! what else is in a text does not hold. What a template makes of a text otherwise is an error.
//! There is no time and no chance: `strftime_now` is not defined.

mod contents;
mod error;
mod template;

pub use error::ChatError;

use crate::tokenizer::{Piece, Tokenizer, split_at_special};
use contents::Contents;
use template::Variables;

/// Longest message of an error that a template makes.
const MAX_REASON: usize = 300;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What the model is to keep to.
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said: text, whatever is in it.
    pub content: String,
}

impl Message {
    /// What `role` says.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// How a chat is written for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    source: String,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// A Jinja template, and how the tokens are written that it calls `bos_token` and `eos_token`.
    pub fn new(
        source: impl Into<String>,
        bos_token: impl Into<String>,
        eos_token: impl Into<String>,
    ) -> Self {
        Self { source: source.into(), bos_token: bos_token.into(), eos_token: eos_token.into() }
    }

    /// The template itself.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How the token that begins a text is written; empty if there is none.
    pub fn bos_token(&self) -> &str {
        &self.bos_token
    }

    /// How the token that ends a text is written; empty if there is none.
    pub fn eos_token(&self) -> &str {
        &self.eos_token
    }

    /// The text that asks for an answer to `messages`.
    ///
    /// # Errors
    /// [`ChatError`] if the template cannot be followed, in bounded time and memory whatever it is.
    pub fn render(&self, messages: &[Message]) -> Result<String, ChatError> {
        let contents = Contents::new(messages.iter().map(|message| &message.content[..]));
        contents.fill(&self.made(messages, &contents, true)?)
    }

    /// The tokens of [`render`](Self::render): what is written as a special token in the template
    /// is that token, what is in a message is text.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn encode(
        &self,
        messages: &[Message],
        tokenizer: &dyn Tokenizer,
    ) -> Result<Vec<u32>, ChatError> {
        let contents = Contents::new(messages.iter().map(|message| &message.content[..]));
        let made = self.made(messages, &contents, true)?;
        let mut tokens = Vec::new();
        for piece in split_at_special(&made, tokenizer.special_tokens()) {
            match piece {
                Piece::Special(token) => tokens.push(token),
                Piece::Text(text) => {
                    tokens.extend(tokenizer.encode(contents.fill(text)?.as_bytes())?);
                }
            }
        }
        Ok(tokens)
    }

    /// The special token that the template puts after an answer, if it does so: it ends one.
    pub fn end_of_turn(&self, tokenizer: &dyn Tokenizer) -> Option<u32> {
        let messages = [Message::new(Role::User, "a"), Message::new(Role::Assistant, "b")];
        let contents = Contents::new(messages.iter().map(|message| &message.content[..]));
        let made = self.made(&messages, &contents, false).ok()?;
        let answer = contents.seen(1, "b");
        let (_, after) = made.split_once(&answer)?;
        match split_at_special(after.trim_start(), tokenizer.special_tokens()).first() {
            Some(&Piece::Special(token)) => Some(token),
            _ => None,
        }
    }

    /// What the template makes of messages with their texts left out.
    fn made(
        &self,
        messages: &[Message],
        contents: &Contents<'_>,
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        let seen: Vec<(&'static str, String)> = messages
            .iter()
            .enumerate()
            .map(|(index, Message { role, content })| (role.name(), contents.seen(index, content)))
            .collect();
        let variables = Variables {
            messages: &seen,
            bos_token: &self.bos_token,
            eos_token: &self.eos_token,
            add_generation_prompt,
        };
        let made = template::render(&self.source, &variables).map_err(|reason| {
            // It may be the template's own.
            let line = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
            ChatError::Template(line.take(MAX_REASON).collect())
        })?;
        contents.check(&made)?;
        Ok(made)
    }
}
