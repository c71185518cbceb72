//! The terminal that the program was started on: whether a full screen may be drawn on it, and its
//! way there and back.
//!
//! Whatever happens to a terminal (it may go away at any time) is no error of the program: what
//! cannot be shown is not shown.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(not(unix), path = "other.rs")]
mod system;

use std::{
    env,
    io::{self, IsTerminal},
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    thread::sleep,
    time::{Duration, Instant},
};

pub use system::{enter, is_shown, keys, restore_on_fatal_signals, size, standing, writer};

/// How long leaving the screen waits for a frame that is being drawn. A terminal that takes no
/// bytes must not keep the program from ending.
const PATIENCE: Duration = Duration::from_millis(300);

/// Held while a frame is drawn.
static DRAWING: Mutex<()> = Mutex::new(());

/// Whose the terminal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The program runs in the foreground.
    Ours,
    /// Another program of the same shell has it now.
    Background,
    /// It hung up, or it is no terminal that controls this program.
    Gone,
}

/// Whether a full screen can be drawn: standard output is a terminal that moves its cursor, and
/// the program is in its foreground.
pub fn has_screen() -> bool {
    io::stdout().is_terminal() && !is_dumb() && standing() == Standing::Ours
}

/// Whether the terminal can do no more than print lines, as `TERM` says.
pub fn is_dumb() -> bool {
    cfg!(unix) && env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// To be held while a frame is drawn, so that it is not cut by [`leave`].
pub fn drawing() -> MutexGuard<'static, ()> {
    DRAWING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Restores the terminal as it was, if the screen is shown. The guard keeps it so: nothing is
/// drawn until it is dropped. `None` if a frame is stuck.
pub fn leave() -> Option<MutexGuard<'static, ()>> {
    let started = Instant::now();
    let guard = loop {
        match DRAWING.try_lock() {
            Ok(guard) => break Some(guard),
            Err(TryLockError::Poisoned(guard)) => break Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) if started.elapsed() > PATIENCE => break None,
            Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(5)),
        }
    };
    system::leave(guard.is_some());
    guard
}
