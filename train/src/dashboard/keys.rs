/// What a key of the dashboard does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The run is to stop.
    Stop,
    /// The next curve.
    Next,
    /// The curve before.
    Previous,
    /// The later half of the curves.
    Closer,
    /// Twice as much of them.
    Farther,
    /// Another panel.
    Panel,
    /// The whole screen is redrawn.
    Redraw,
}

/// The keys in what was typed. A sequence that is cut in two is two keys without a meaning.
pub fn keys(mut typed: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let [first, rest @ ..] = typed {
        let key;
        (key, typed) = match (first, rest) {
            // Arrows, in both of their spellings.
            (0x1b, [b'[' | b'O', b'A', rest @ ..]) => (Some(Key::Closer), rest),
            (0x1b, [b'[' | b'O', b'B', rest @ ..]) => (Some(Key::Farther), rest),
            (0x1b, [b'[' | b'O', b'C', rest @ ..]) => (Some(Key::Next), rest),
            (0x1b, [b'[' | b'O', b'D', rest @ ..]) => (Some(Key::Previous), rest),
            (0x1b, [b'[', rest @ ..]) => (None, after_sequence(rest)),
            // Ctrl-C, where it is no signal.
            (b'q' | b'Q' | 3, rest) => (Some(Key::Stop), rest),
            (b'\t', rest) => (Some(Key::Panel), rest),
            // Ctrl-L.
            (12, rest) => (Some(Key::Redraw), rest),
            (_, rest) => (None, rest),
        };
        keys.extend(key);
    }
    keys
}

/// What follows a control sequence: parameters and intermediates up to a final byte.
fn after_sequence(bytes: &[u8]) -> &[u8] {
    match bytes.iter().position(|byte| (0x40..=0x7e).contains(byte)) {
        Some(end) => &bytes[end + 1..],
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        assert_eq!(keys(b"q"), [Key::Stop]);
        assert_eq!(
            keys(b"\x1b[C\x1bOD\tx\x0c\x03"),
            [Key::Next, Key::Previous, Key::Panel, Key::Redraw, Key::Stop]
        );
        // A pasted `q` in a sequence, a mouse's report, is none.
        assert_eq!(keys(b"\x1b[<0;12;5Mq"), [Key::Stop]);
        assert_eq!(keys(b"\x1b[15~\x1b[1;5"), []);
        assert_eq!(keys(b"\x1b"), []);
    }
}
