//! Chats: one turn, or as many as there are lines of standard input.

use std::{
    fmt::Display,
    io::{self, BufRead, IsTerminal, Write},
    time::Instant,
};

use anyhow::Context;
use bitnet::generate::CausalLm;
use infer::{Chat, SessionError};

use super::speak::{self, Notes, without_line_break};
use crate::output;

/// Prints the answer to `prompt`, or to each line of standard input, to the end of the text or of
/// the model's turn.
///
/// # Errors
/// If the chat cannot be written by the model's template or be continued.
pub fn run<M: CausalLm>(
    mut chat: Chat<'_, M>,
    prompt: Option<&str>,
    mut notes: Notes,
) -> anyhow::Result<()> {
    let mut is_cut = false;
    let mut answer = |question: &str| {
        let start = Instant::now();
        let mut answer = chat.ask(question)?;
        if answer.forgotten() > 0 && !std::mem::replace(&mut is_cut, true) {
            output::note("the context is full: the oldest turns are forgotten");
        }
        speak::print("", &mut answer)?;
        notes.say(answer.generated(), start);
        answer.keep();
        anyhow::Ok(())
    };
    if let Some(prompt) = prompt {
        return answer(prompt);
    }
    // A line that cannot be answered does not end the chat.
    let not_answered = |why: &dyn Display| {
        output::note(&format!("this line is not answered: {why}"));
    };
    let mut input = io::stdin().lock();
    let is_terminal = input.is_terminal();
    loop {
        if is_terminal {
            let _ = write!(io::stderr(), "> ");
        }
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line).context("cannot read from standard input")?;
        if line.is_empty() {
            return Ok(());
        }
        match str::from_utf8(&line) {
            Ok(line) => match answer(without_line_break(line)) {
                Err(error) if is_too_long(&error) => not_answered(&error),
                result => result?,
            },
            Err(error) => {
                not_answered(&format!("byte {} is not UTF-8", error.valid_up_to() + 1));
            }
        }
    }
}

fn is_too_long(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(SessionError::is_too_long)
}
