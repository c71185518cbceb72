//! Chats: one turn, or as many as there are lines of standard input.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use bitnet::{
    chat::{ChatError, Message, Role},
    generate::{GenerateError, GenerationConfig},
};

use crate::{
    generate::{Model, Notes, without_line_break, write_all},
    output,
};

/// Prints the answer to `prompt`, or to each line of standard input, to the end of the text or of
/// the model's turn. Where a chat becomes longer than the model's context, its oldest turns are
/// left out.
///
/// # Errors
/// If the model has no chat template, or the chat cannot be written by it or be continued.
pub fn run(
    model: &Model<'_>,
    system: Option<&str>,
    prompt: Option<&str>,
    mut config: GenerationConfig,
    mut notes: Notes,
) -> anyhow::Result<()> {
    let template = model.settings.chat.as_ref().ok_or(ChatError::Missing)?;
    config.ends.extend(template.end_of_turn(model.tokenizer));
    let system = system.map(|system| Message::new(Role::System, system));
    let mut messages: Vec<Message> = system.into_iter().collect();
    // What every turn is after: a system's message stays.
    let first = messages.len();
    let mut is_cut = false;
    let mut answer = |prompt: &str| {
        let question = Message::new(Role::User, prompt);
        let mut oldest = first;
        let generation = loop {
            let turns = messages[..first].iter().chain(&messages[oldest..]).chain([&question]);
            let turns: Vec<Message> = turns.cloned().collect();
            let tokens = model.settings.chat_prompt(&turns, model.tokenizer)?;
            match (model.stream)(tokens.into(), &config) {
                // A question and its answer less.
                Err(GenerateError::PromptTooLong { .. }) if oldest < messages.len() => oldest += 2,
                result => break result?,
            }
        };
        if oldest > first && !std::mem::replace(&mut is_cut, true) {
            output::note("the context is full: the oldest turns are forgotten");
        }
        messages.drain(first..oldest);
        let answer = write_all("", generation, &mut notes)?;
        messages.extend([question, Message::new(Role::Assistant, answer)]);
        anyhow::Ok(())
    };
    if let Some(prompt) = prompt {
        return answer(prompt);
    }
    // A line that alone is too long does not end the chat.
    let mut answer = |line: &str| match answer(line) {
        Err(error) if is_too_long(&error) => {
            output::note(&format!("this line is not answered: {error}"));
            Ok(())
        }
        result => result,
    };
    let mut input = io::stdin().lock();
    let is_terminal = input.is_terminal();
    loop {
        if is_terminal {
            let _ = write!(io::stderr(), "> ");
        }
        let mut line = String::new();
        input.read_line(&mut line).context("cannot read from standard input")?;
        if line.is_empty() {
            return Ok(());
        }
        answer(without_line_break(&line))?;
    }
}

fn is_too_long(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(GenerateError::PromptTooLong { .. }))
}
