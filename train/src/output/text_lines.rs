/// A text in lines of at most `width` characters, with the characters that a terminal obeys as
/// escapes: what a model writes may hold any.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let mut current = String::new();
        let mut columns = 0;
        for letter in line.chars() {
            let shown: Vec<char> = match letter {
                '\t' => vec![' '; 4],
                letter if letter.is_control() => letter.escape_default().collect(),
                letter => vec![letter],
            };
            if columns + shown.len() > width && columns > 0 {
                lines.push(std::mem::take(&mut current));
                columns = 0;
            }
            columns += shown.len();
            current.extend(shown);
        }
        lines.push(current);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_controls_escaped() {
        assert_eq!(wrap("abcdef\n\ngh", 4), ["abcd", "ef", "", "gh"]);
        assert_eq!(wrap("a\u{1b}[2Jb", 40), ["a\\u{1b}[2Jb"]);
        assert_eq!(wrap("äöü\r", 5), ["äöü\\r"]);
        assert_eq!(wrap("abc\u{7}", 5), ["abc", "\\u{7}"]);
    }
}
