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

/// A number with a comma between thousands.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rows of cells as lines: the first column to the left, the others to the right, each as wide as
/// its longest cell.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            match column {
                0 => text.push_str(&format!("{cell:width$}")),
                _ => text.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let numbers = [0, 999, 1000, 123_456, 1_234_567];
        assert_eq!(numbers.map(thousands), ["0", "999", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["layer", "ñ"], ["a", "100"]].map(|row| row.map(String::from));
        assert_eq!(table(&rows), "layer    ñ\na      100\n");
        assert_eq!(table::<2>(&[]), "");
    }
}
