//! Texts as they are generated, on standard output.

use std::{
    io::{self, Write},
    time::Instant,
};

use bitnet::generate::{GenerateError, Sampling};

use crate::output;

/// A line less the line break at its end.
pub fn without_line_break(line: &str) -> &str {
    let before = line.strip_suffix("\r\n").or_else(|| line.strip_suffix('\n'));
    before.unwrap_or(line)
}

/// What is said on standard error after a text.
pub struct Notes {
    /// Said once.
    once: Vec<String>,
    /// Nothing is said.
    quiet: bool,
}

impl Notes {
    /// Says a note and the seed, where that matters.
    pub fn new(note: Option<String>, sampling: &Sampling, quiet: bool) -> Self {
        let seed = (sampling.temperature > 0.0).then(|| format!("seed {}", sampling.seed));
        Self { once: note.into_iter().chain(seed).collect(), quiet }
    }

    /// Says what is to be said once, then how fast a text was made that began at `start`.
    pub fn say(&mut self, tokens: usize, start: Instant) {
        let seconds = start.elapsed().as_secs_f64();
        let speed = tokens as f64 / seconds.max(f64::MIN_POSITIVE);
        let speed = format!("{tokens} tokens in {seconds:.2} s ({speed:.1} tokens/s)");
        let lines = self.once.drain(..).chain([speed]);
        lines.filter(|_| !self.quiet).for_each(|line| output::note(&line));
    }
}

/// Prints the prompt, each piece of text once it is there, and a line break.
///
/// # Errors
/// If the text cannot be generated or printed.
pub fn print(
    prompt: &str,
    pieces: impl Iterator<Item = Result<String, GenerateError>>,
) -> anyhow::Result<()> {
    write(&mut io::stdout().lock(), prompt, pieces)
}

fn write(
    out: &mut impl Write,
    prompt: &str,
    mut pieces: impl Iterator<Item = Result<String, GenerateError>>,
) -> anyhow::Result<()> {
    output::write(out, prompt)?;
    let generated = pieces.try_for_each(|piece| output::write(out, &piece?));
    // In case of an error, too: its message begins on a line of its own.
    output::write(out, "\n")?;
    generated
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks flushes with a bar.
    struct Recorder(String);

    impl Write for Recorder {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.push('|');
            Ok(())
        }
    }

    #[test]
    fn one_line_break_is_cut_off() {
        for (line, cut) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r\n\r\n", "a\r\n"),
            ("\r\n", ""),
            ("", ""),
        ] {
            assert_eq!(without_line_break(line), cut);
        }
    }

    #[test]
    fn every_piece_is_flushed() {
        let mut out = Recorder(String::new());
        let pieces = ["b", "cd"].map(|piece| Ok(piece.to_string()));
        write(&mut out, "a", pieces.into_iter()).unwrap();
        assert_eq!(out.0, "a|b|cd|\n|");
    }

    #[test]
    fn text_before_an_error_is_a_line_of_its_own() {
        let mut out = Recorder(String::new());
        let pieces = [Ok("b".to_string()), Err(GenerateError::NonFinite), Ok("c".to_string())];
        let error = write(&mut out, "a", pieces.into_iter()).unwrap_err();
        assert!(error.downcast_ref::<GenerateError>().is_some());
        assert_eq!(out.0, "a|b|\n|");
    }
}
