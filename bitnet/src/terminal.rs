//! What messages show, for a terminal: texts of unknown origin, since names and contents of files may
//! hold anything, and numbers of any size.

use std::borrow::Cow;

/// Characters of [`line`] at most: several paths and reasons.
const MAX_LINE: usize = 2000;

/// `text` with its control characters, and those that change the direction of what follows,
/// written as Rust escapes them: `\u{1b}`. Line breaks stay.
///
/// ```
/// assert_eq!(bitnet::terminal::text("a\nb\u{1b}[2J"), "a\nb\\u{1b}[2J");
/// ```
pub fn text(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match is_unsafe(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// A number as messages show it: short, however large or small.
///
/// ```
/// use bitnet::terminal::number;
/// assert_eq!([0.0, -1.0, 0.25, 1e300, 5e-324].map(number), ["0", "-1", "0.25", "1e300", "5e-324"]);
/// ```
pub fn number(value: f64) -> String {
    let is_plain = matches!(value.abs(), 0.0 | 1e-5..1e16) || !value.is_finite();
    if is_plain { value.to_string() } else { format!("{value:e}") }
}

/// `text` as one line: as [`text`](text()), with spaces for line breaks and tabs, and of a long one
/// the beginning and the end.
///
/// ```
/// let name = "a".repeat(5_000_000);
/// let line = bitnet::terminal::line(&format!("cannot read {name}\n: no such file"));
/// assert!(line.len() < 2100 && line.starts_with("cannot read aaa"));
/// assert!(line.ends_with("aaa : no such file"));
/// ```
pub fn line(text: &str) -> String {
    let spaced = |character| match character {
        '\n' | '\r' | '\t' => ' ',
        other => other,
    };
    let short: String = match text.char_indices().nth(MAX_LINE) {
        None => text.chars().map(spaced).collect(),
        Some(_) => {
            let (head, tail) = (MAX_LINE * 2 / 3, MAX_LINE / 3);
            let end = text.char_indices().rev().nth(tail - 1).map_or(0, |(at, _)| at);
            let cut = text.chars().take(head).chain(" … ".chars()).chain(text[end..].chars());
            cut.map(spaced).collect()
        }
    };
    self::text(&short).into_owned()
}

fn is_unsafe(character: char) -> bool {
    let is_of_direction = matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    is_of_direction || (character.is_control() && !matches!(character, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_but_characters() {
        assert_eq!(line("a\u{1b}]0;t\u{7}\r\nb"), "a\\u{1b}]0;t\\u{7}  b");
        assert_eq!(line("x\u{9b}31m\u{202e}y\u{7f}"), "x\\u{9b}31m\\u{202e}y\\u{7f}");
        assert_eq!(text("señor — 語\t\n"), "señor — 語\t\n");
        assert_eq!(text("\r"), "\\r");
    }

    #[test]
    fn long_lines_keep_both_ends() {
        let short = "ñ".repeat(MAX_LINE);
        assert_eq!(line(&short), short);
        let long = line(&format!("begin{}\u{7}end", "ñ".repeat(MAX_LINE)));
        assert!(long.starts_with("beginñ") && long.ends_with("ñ\\u{7}end"), "{long}");
        assert_eq!(long.chars().filter(|&character| character == '…').count(), 1);
        assert!(long.chars().count() < MAX_LINE + 10);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_line(text: String) {
            let line = line(&text);
            assert!(!line.contains(|character: char| character.is_control()));
        }
    }
}
