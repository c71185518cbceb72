//! Chats: one turn, or as many as there are lines of standard input.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use bitnet::{
    chat::{ChatError, Message, Role},
    generate::GenerationConfig,
};

use crate::generate::{Model, write_all};

/// Prints the answer to `prompt`, or to each line of standard input, to the end of the text or of
/// the model's turn.
///
/// # Errors
/// If the model has no chat template, or the chat cannot be written by it or be continued.
pub fn run(
    model: &Model<'_>,
    system: Option<&str>,
    prompt: Option<&str>,
    mut config: GenerationConfig,
    mut note: Option<String>,
) -> anyhow::Result<()> {
    let template = model.settings.chat.as_ref().ok_or(ChatError::Missing)?;
    config.ends.extend(template.end_of_turn(model.tokenizer));
    let system = system.map(|system| Message::new(Role::System, system));
    let mut messages: Vec<Message> = system.into_iter().collect();
    let mut answer = |prompt: &str| {
        messages.push(Message::new(Role::User, prompt));
        let tokens = model.settings.chat_prompt(&messages, model.tokenizer)?;
        let answer = write_all("", (model.stream)(tokens.into(), &config)?, note.take())?;
        messages.push(Message::new(Role::Assistant, answer));
        anyhow::Ok(())
    };
    if let Some(prompt) = prompt {
        return answer(prompt);
    }
    let mut input = io::stdin().lock();
    let is_terminal = input.is_terminal();
    loop {
        if is_terminal {
            let _ = write!(io::stderr(), "> ");
        }
        let mut line = String::new();
        input.read_line(&mut line).context("cannot read from standard input")?;
        match line.strip_suffix('\n') {
            Some(line) => answer(line)?,
            None if line.is_empty() => return Ok(()),
            None => answer(&line)?,
        }
    }
}
