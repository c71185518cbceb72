#![allow(unsafe_code, reason = "an action of a signal is registered")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::unistd::getpgrp;
use ratatui::crossterm::{
    Command,
    cursor::{Hide, Show},
    style::ResetColor,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen},
};
use rustix::{
    fs::fstat,
    stdio::{stderr, stdin, stdout},
    termios::{
        InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr,
        tcgetpgrp, tcgetwinsize, tcsetattr,
    },
};
use signal_hook::{
    consts::{SIGABRT, SIGBUS},
    low_level,
};

use super::Standing;

/// Turns a special key off.
const NO_KEY: u8 = if cfg!(any(target_os = "linux", target_os = "android")) { 0 } else { 0xff };

/// The modes before the screen was first shown.
static BEFORE: OnceLock<Termios> = OnceLock::new();
/// What leaves the screen, made beforehand: a handler of a signal may not allocate.
static LEAVE: OnceLock<String> = OnceLock::new();
static SHOWN: AtomicBool = AtomicBool::new(false);
/// Whether a signal is about to end the process: the screen is not shown again.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Whether the screen is shown.
pub fn is_shown() -> bool {
    SHOWN.load(Ordering::SeqCst)
}

/// Whose the terminal is.
pub fn standing() -> Standing {
    match tcgetpgrp(stdout()) {
        Ok(group) if group.as_raw_nonzero().get() == getpgrp().as_raw() => Standing::Ours,
        Ok(_) => Standing::Background,
        Err(_) => Standing::Gone,
    }
}

/// Columns and rows.
///
/// # Errors
/// If the terminal is gone.
pub fn size() -> io::Result<(u16, u16)> {
    let size = tcgetwinsize(stdout())?;
    Ok(match (size.ws_col, size.ws_row) {
        // Some do not say.
        (0, _) | (_, 0) => (80, 24),
        known => known,
    })
}

/// Shows the screen: another one than that of the lines before, without a cursor, whose keys are
/// read one by one and not shown. Ctrl-C and Ctrl-Z remain signals, so that they work whatever the
/// program does.
///
/// # Errors
/// If the terminal does not take it.
pub fn enter() -> io::Result<()> {
    let now = tcgetattr(stdout())?;
    let before = BEFORE.get_or_init(|| now);
    LEAVE.get_or_init(|| ansi(&[&ResetColor, &Show, &LeaveAlternateScreen]));
    let mut modes = before.clone();
    modes.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN);
    // Ctrl-S would stop the screen.
    modes.input_modes.remove(InputModes::IXON | InputModes::ICRNL);
    modes.special_codes[SpecialCodeIndex::VQUIT] = NO_KEY;
    // Reading keys does not wait for them.
    modes.special_codes[SpecialCodeIndex::VMIN] = 0;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    SHOWN.store(true, Ordering::SeqCst);
    tcsetattr(stdout(), OptionalActions::Now, &modes)?;
    write(stdout(), ansi(&[&EnterAlternateScreen, &Hide]).as_bytes());
    if ENDING.load(Ordering::SeqCst) {
        leave(true);
    }
    Ok(())
}

/// Restores the terminal: its modes, and if it `takes` bytes its other screen. Returns whether the
/// screen was shown.
pub(super) fn leave(takes: bool) -> bool {
    let was_shown = SHOWN.swap(false, Ordering::SeqCst);
    if was_shown {
        // In the background it is another program's, and setting modes there stops this one.
        if let (Some(before), Standing::Ours) = (BEFORE.get(), standing()) {
            let _ = tcsetattr(stdout(), OptionalActions::Now, before);
        }
        if let (Some(leave), true) = (LEAVE.get(), takes) {
            write(stdout(), leave.as_bytes());
        }
    }
    was_shown
}

/// Where frames go. (Standard output's own handle is locked while somebody prints.)
///
/// # Errors
/// If standard output is closed.
pub fn writer() -> io::Result<File> {
    Ok(File::from(stdout().try_clone_to_owned()?))
}

/// The bytes that were typed since the last time, if standard input is the same terminal.
pub fn keys() -> Vec<u8> {
    let device = |fd: BorrowedFd<'_>| fstat(fd).ok().map(|stat| stat.st_rdev);
    if !isatty(stdin()) || device(stdin()) != device(stdout()) {
        return Vec::new();
    }
    let mut bytes = [0; 256];
    let read = rustix::io::read(stdin(), &mut bytes).unwrap_or(0);
    bytes[..read].to_vec()
}

/// Restores the terminal where a signal is about to end the process: an abort, as without memory,
/// and a file that is cut short while it is mapped. To be called before anything else ends the
/// process there.
pub fn restore_on_fatal_signals() {
    let aborts = || {
        ENDING.store(true, Ordering::SeqCst);
        if leave(true) {
            write(stderr(), b"error: the process gave up, as it does without memory\n");
        }
    };
    // What a bus error means is said by what ends the process.
    let bus_error = || {
        ENDING.store(true, Ordering::SeqCst);
        leave(true);
    };
    // SAFETY: both actions are fit for a handler: they load and swap atomics and make system calls,
    // and neither allocate nor take a lock.
    let _ =
        unsafe { (low_level::register(SIGABRT, aborts), low_level::register(SIGBUS, bus_error)) };
}

fn ansi(commands: &[&dyn Ansi]) -> String {
    commands.iter().map(|command| command.text()).collect()
}

/// [`Command`] as a trait object.
trait Ansi {
    fn text(&self) -> String;
}

impl<C: Command> Ansi for C {
    fn text(&self) -> String {
        let mut text = String::new();
        // A `String` takes everything.
        let _ = self.write_ansi(&mut text);
        text
    }
}

/// Writes, as far as the terminal takes it.
fn write(fd: impl AsFd, bytes: &[u8]) {
    let _ = rustix::io::write(fd, bytes);
}
