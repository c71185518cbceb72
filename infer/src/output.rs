//! Writing to standard output. `print!` is not used: it panics where the reader is gone.

use std::io::{self, Write};

use anyhow::Context;
use bitnet::terminal;

/// What is said where standard output takes no more.
pub const CANNOT_WRITE: &str = "cannot write to standard output";

/// Writes `text`, at once.
///
/// # Errors
/// If it cannot be written.
pub fn write(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context(CANNOT_WRITE)
}

/// Writes `text` to standard output.
///
/// # Errors
/// As [`write()`].
pub fn print(text: &str) -> anyhow::Result<()> {
    write(&mut io::stdout().lock(), text)
}

/// Writes a line beside the output, if somebody reads it: on standard error.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{}", terminal::line(line));
}
