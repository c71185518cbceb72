//! Chats: one turn, or as many as there are lines of standard input.

use std::{
    fmt::Display,
    io::{self, BufRead, IsTerminal, Read, Write},
    time::Instant,
};

use anyhow::Context;
use bitnet::generate::CausalLm;
use infer::{Chat, SessionError};

use super::speak::{self, Notes, without_line_break};
use crate::output;

/// The longest line that is answered, in bytes: more than any context holds.
const MAX_LINE_BYTES: u64 = 8 << 20;

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
        let Some(line) = next_line(&mut input).context("cannot read from standard input")? else {
            return Ok(());
        };
        let Some(line) = line else {
            not_answered(&format!("it is longer than {} MiB", MAX_LINE_BYTES >> 20));
            continue;
        };
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

/// The next line with its end; `None` after the last one, and within for one that is too long, which
/// is read and dropped.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Option<Vec<u8>>>> {
    let mut line = Vec::new();
    input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if (line.len() as u64) < MAX_LINE_BYTES || line.ends_with(b"\n") {
        return Ok((!line.is_empty()).then_some(Some(line)));
    }
    loop {
        let rest = input.fill_buf()?;
        let end = rest.iter().position(|&byte| byte == b'\n');
        let (read, is_last) = (end.map_or(rest.len(), |end| end + 1), rest.is_empty());
        input.consume(read);
        if end.is_some() || is_last {
            return Ok(Some(None));
        }
    }
}

fn is_too_long(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(SessionError::is_too_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_up_to_a_length() {
        let long = vec![b'x'; 3 * MAX_LINE_BYTES as usize];
        let fits = [&vec![b'y'; MAX_LINE_BYTES as usize - 1][..], b"\n"].concat();
        let text = [b"one\n", &long[..], b"\n", &fits, b"last"].concat();
        let mut input = &text[..];
        let mut next = || next_line(&mut input).unwrap();
        assert_eq!(next(), Some(Some(b"one\n".to_vec())));
        assert_eq!(next(), Some(None));
        assert_eq!(next(), Some(Some(fits.clone())));
        assert_eq!(next(), Some(Some(b"last".to_vec())));
        assert_eq!(next(), None);
        assert_eq!(next_line(&mut &long[..]).unwrap(), Some(None));
    }
}
