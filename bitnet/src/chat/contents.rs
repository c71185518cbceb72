//! The texts of messages, kept out of a template's hands: what stands for them goes through it, so
//! that no text becomes a special token, and none is a matter of the template's cost.

use super::ChatError;

/// What stands for a text is between two characters that stand in no text: Unicode has them for
/// the insides of programs.
const OPENING_MARK: char = '\u{fdd0}';
const CLOSING_MARK: char = '\u{fdd1}';
/// Most bytes that a template may make beyond sixteen times all texts.
const MAX_EXTRA_BYTES: usize = 1 << 20;

/// Texts, and what stands for them.
pub(super) struct Contents<'a> {
    texts: Vec<&'a str>,
    marks: Vec<String>,
}

impl<'a> Contents<'a> {
    /// Takes the texts of messages.
    pub(super) fn new(contents: impl Iterator<Item = &'a str>) -> Self {
        let texts: Vec<&str> = contents.map(str::trim).collect();
        let marks = texts.iter().enumerate().map(|(index, text)| mark(index, text)).collect();
        Self { texts, marks }
    }

    /// What a template gets for message `index`, `content`: the white space around its text is
    /// real, for a template may cut it off.
    pub(super) fn seen(&self, index: usize, content: &str) -> String {
        let (text, mark) = (self.texts[index], &self.marks[index]);
        if text.is_empty() {
            return content.to_owned();
        }
        let before = content.len() - content.trim_start().len();
        let after = before + text.len();
        format!("{}{mark}{}", &content[..before], &content[after..])
    }

    /// Checks that all that a template has made is whole, and how long it becomes with the texts in
    /// it.
    pub(super) fn check(&self, made: &str) -> Result<(), ChatError> {
        let all: usize = self.texts.iter().map(|text| text.len()).sum();
        let most = 16 * all + MAX_EXTRA_BYTES;
        let mut length = 0;
        let mut rest = made;
        while let Some((_, index, after)) = self.next(rest)? {
            length += self.texts[index].len();
            rest = after;
            if length > most {
                return Err(ChatError::TooLong);
            }
        }
        Ok(())
    }

    /// What a template has made, with the texts in it.
    pub(super) fn fill(&self, made: &str) -> Result<String, ChatError> {
        let mut filled = String::new();
        let mut rest = made;
        while let Some((before, index, after)) = self.next(rest)? {
            filled.push_str(before);
            filled.push_str(self.texts[index]);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// What is before the first text, which one that is, and what is after it.
    fn next<'m>(&self, made: &'m str) -> Result<Option<(&'m str, usize, &'m str)>, ChatError> {
        let Some(at) = made.find([OPENING_MARK, CLOSING_MARK]) else { return Ok(None) };
        let (before, rest) = made.split_at(at);
        // Message 12 is not message 1: a mark ends with a character of its own.
        let mut marks = self.marks.iter().enumerate();
        let found = marks.find_map(|(index, mark)| Some((index, rest.strip_prefix(&mark[..])?)));
        found.map(|(index, after)| Some((before, index, after))).ok_or(ChatError::Changed)
    }
}

/// What stands for a text. A template that changes letters or lines, or writes JSON, changes it, so
/// that this is noticed.
fn mark(index: usize, text: &str) -> String {
    let line = if text.contains('\n') { "\n" } else { "" };
    format!("{OPENING_MARK}aB\"{line}{index}{CLOSING_MARK}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_seen_and_texts_come_back() {
        let contents = [" a\n", "b\u{fdd0}c", " ", "\td"];
        let all = Contents::new(contents.into_iter());
        let seen: Vec<String> =
            contents.iter().enumerate().map(|(index, text)| all.seen(index, text)).collect();
        assert!(seen[0].starts_with(" \u{fdd0}") && seen[0].ends_with("\u{fdd1}\n"));
        assert_eq!(seen[2], " ");
        assert_eq!(all.fill(&seen.concat()).unwrap(), contents.concat());
        assert_eq!(all.fill(&format!("{0}|{0}", seen[3].trim())).unwrap(), "d|d");
    }

    #[test]
    fn what_is_not_whole_is_noticed() {
        let all = Contents::new(["a\nb"].into_iter());
        let seen = all.seen(0, "a\nb");
        for changed in [
            seen.to_uppercase(),
            seen.to_lowercase(),
            seen.replace('"', "\\\""),
            seen.replace('\n', " "),
            seen.chars().rev().collect(),
            seen.replace('0', "1"),
        ] {
            assert!(matches!(all.check(&changed), Err(ChatError::Changed)), "{changed:?}");
            assert!(matches!(all.fill(&changed), Err(ChatError::Changed)), "{changed:?}");
        }
    }

    #[test]
    fn a_text_again_and_again_is_too_long() {
        let long = "a".repeat(1 << 20);
        let all = Contents::new([&long[..]].into_iter());
        let made = all.seen(0, &long).repeat(100);
        assert!(matches!(all.check(&made), Err(ChatError::TooLong)));
        assert!(all.check(&all.seen(0, &long).repeat(17)).is_ok());
    }
}
