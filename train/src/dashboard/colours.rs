use ratatui::style::{Color, Style};

use crate::output::Split;

/// The colour of what is of a text.
pub fn style(split: Split) -> Style {
    Style::new().fg(match split {
        Split::Training => Color::Cyan,
        Split::Validation => Color::Magenta,
    })
}
