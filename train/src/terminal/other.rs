use std::{
    fs::File,
    io,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use ratatui::crossterm::{
    cursor::{Hide, Show},
    event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    execute, terminal,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen},
};

use super::Standing;

static SHOWN: AtomicBool = AtomicBool::new(false);

/// Whether the screen is shown.
pub fn is_shown() -> bool {
    SHOWN.load(Ordering::SeqCst)
}

/// Whose the terminal is.
pub fn standing() -> Standing {
    Standing::Ours
}

/// Columns and rows.
///
/// # Errors
/// If the terminal is gone.
pub fn size() -> io::Result<(u16, u16)> {
    terminal::size()
}

/// Shows the screen.
///
/// # Errors
/// If the terminal does not take it.
pub fn enter() -> io::Result<()> {
    SHOWN.store(true, Ordering::SeqCst);
    terminal::enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, Hide)
}

/// Restores the terminal. Returns whether the screen was shown.
pub(super) fn leave(takes: bool) -> bool {
    let was_shown = SHOWN.swap(false, Ordering::SeqCst);
    if was_shown {
        if takes {
            let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        }
        let _ = terminal::disable_raw_mode();
    }
    was_shown
}

/// Where frames go.
///
/// # Errors
/// If there is no console.
pub fn writer() -> io::Result<File> {
    File::options().write(true).open("CONOUT$")
}

/// What was typed since the last time, as the bytes of a terminal.
pub fn keys() -> Vec<u8> {
    let mut bytes = Vec::new();
    while event::poll(Duration::ZERO).unwrap_or(false) {
        let Ok(Event::Key(key)) = event::read() else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => bytes.push(3),
            KeyCode::Char(letter) => bytes.extend(letter.to_string().bytes()),
            KeyCode::Left => bytes.extend(b"\x1b[D"),
            KeyCode::Right => bytes.extend(b"\x1b[C"),
            _ => {}
        }
    }
    bytes
}

/// There are no such signals here.
pub fn restore_on_fatal_signals() {}
