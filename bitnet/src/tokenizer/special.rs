use std::collections::HashMap;

/// A token that stands for no text: it begins or ends one, or parts what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its number.
    pub id: u32,
    /// How it is written where it is meant.
    pub text: String,
    /// Takes the white space before it along.
    pub lstrip: bool,
    /// Takes the white space after it along.
    pub rstrip: bool,
    /// Is not meant inside a word.
    pub single_word: bool,
}

/// A part of a text in which special tokens may be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text, never empty.
    Text(&'a str),
    /// A special token.
    Special(u32),
}

/// Cuts a text at the special tokens written in it, of which the leftmost and then the longest
/// counts, as the `tokenizers` library does. Tokens that begin or end with white space are left
/// out: such may come from a text beside the other.
pub fn split_at_special<'t>(text: &'t str, tokens: &[SpecialToken]) -> Vec<Piece<'t>> {
    let is_meant = |token: &&SpecialToken| {
        !token.text.is_empty() && token.text.trim().len() == token.text.len()
    };
    let by_text: HashMap<&str, &SpecialToken> =
        tokens.iter().filter(is_meant).map(|token| (&token.text[..], token)).collect();
    let mut lengths: Vec<usize> = by_text.keys().map(|text| text.len()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let longest_at = |at: usize| {
        lengths.iter().rev().find_map(|&len| by_text.get(text.get(at..at + len)?)).copied()
    };

    let mut pieces = Vec::new();
    // What is before `start` is in `pieces`; no token begins before `at`.
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        let Some(token) = longest_at(at) else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let (before, behind) = (&text[start..at], &text[at + token.text.len()..]);
        at += token.text.len();
        let is_inside = before.ends_with(is_of_word) || behind.starts_with(is_of_word);
        if token.single_word && is_inside {
            continue;
        }
        let before = if token.lstrip { before.trim_end() } else { before };
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        pieces.push(Piece::Special(token.id));
        if token.rstrip {
            at += behind.len() - behind.trim_start().len();
        }
        start = at;
    }
    if start < text.len() {
        pieces.push(Piece::Text(&text[start..]));
    }
    pieces
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, text: &str) -> SpecialToken {
        SpecialToken { id, text: text.into(), lstrip: false, rstrip: false, single_word: false }
    }

    #[test]
    fn leftmost_then_longest() {
        use Piece::{Special, Text};
        let tokens =
            [token(1, "<a>"), token(2, "<a>b"), token(3, "b<"), token(4, " "), token(5, "")];
        let split = |text| split_at_special(text, &tokens);
        assert_eq!(split("<a>bñ <a>"), [Special(2), Text("ñ "), Special(1)]);
        assert_eq!(split("b<a>"), [Special(3), Text("a>")]);
        assert_eq!(split("<a"), [Text("<a")]);
        assert_eq!(split(""), []);
    }

    #[test]
    fn white_space_and_words() {
        use Piece::{Special, Text};
        let tokens = [
            SpecialToken { rstrip: true, ..token(1, "<r>") },
            SpecialToken { lstrip: true, ..token(2, "<l>") },
            SpecialToken { single_word: true, ..token(3, "w") },
        ];
        let split = |text| split_at_special(text, &tokens);
        assert_eq!(split("a <r> \nb"), [Text("a "), Special(1), Text("b")]);
        assert_eq!(split("a \n<l> b"), [Text("a"), Special(2), Text(" b")]);
        assert_eq!(split("<r> <l>"), [Special(1), Special(2)]);
        assert_eq!(split("ww w_ w"), [Text("ww w_ "), Special(3)]);
    }
}
