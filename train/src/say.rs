//! Printing that a closed pipe does not stop: `train … | head` goes on training. What names and texts of
//! files do to a terminal is escaped.

/// Prints a line to standard output, if somebody reads it.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), "{}", bitnet::terminal::text(&format!($($text)*)));
    }};
}

/// Prints one line to standard error, if somebody reads it.
macro_rules! note {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "{}", bitnet::terminal::line(&format!($($text)*)));
    }};
}
