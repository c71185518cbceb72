//! What makes a run stop before its end, and save: Ctrl-C, `q` on the dashboard, SIGTERM, and the
//! terminal's hang-up.
//!
//! One for the whole process, whose signals they are, so that it holds for the runs still to come,
//! too. Whoever asks a second time has the program end at once. A hang-up never does: a shell that
//! goes away sends it beside the system, and a run that is saving must not end by the second one.

use std::{
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use burn_train::Interrupter;

use crate::terminal;

/// Two requests so close to one another are one: `timeout` signals a process and its group.
const SAME: Duration = Duration::from_millis(200);

static INTERRUPTER: OnceLock<Interrupter> = OnceLock::new();
static LISTENING: OnceLock<()> = OnceLock::new();
static FIRST: Mutex<Option<Instant>> = Mutex::new(None);
static STOPPING: AtomicBool = AtomicBool::new(false);

/// The interrupter of all runs; from now on it is what signals stop.
///
/// # Errors
/// If signals cannot be handled.
pub fn interrupter() -> anyhow::Result<Interrupter> {
    if LISTENING.get().is_none() {
        system::listen().context("cannot handle Ctrl-C")?;
        let _ = LISTENING.set(());
    }
    Ok(shared().clone())
}

/// Whether a run that goes on is about to stop.
pub fn is_stopping() -> bool {
    STOPPING.load(Ordering::Relaxed)
}

/// Somebody asks for the end: at first for one after the step, saved, then for one at once.
pub fn request() {
    let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    match *first {
        Some(at) if at.elapsed() < SAME => {}
        Some(_) => end_at_once(),
        None => {
            *first = Some(Instant::now());
            stop("interrupted");
            if !terminal::is_shown() {
                // A reader that takes nothing must not keep the second request from being heard.
                thread::spawn(|| {
                    note!("stopping after this step, to save; once more ends at once, unsaved");
                });
            }
        }
    }
}

fn shared() -> &'static Interrupter {
    INTERRUPTER.get_or_init(Interrupter::new)
}

fn stop(why: &str) {
    STOPPING.store(true, Ordering::Relaxed);
    shared().stop(Some(why));
}

#[cfg(unix)]
mod system {
    #![allow(unsafe_code, reason = "what a signal does is asked for and changed")]

    use std::{io, thread};

    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
    use signal_hook::{
        consts::{SIGHUP, SIGTSTP},
        iterator::Signals,
        low_level,
    };

    use crate::terminal;

    /// Begins to handle signals, on a thread of its own. Those that whoever started the program
    /// made it ignore, as `nohup` does with a hang-up, remain ignored.
    pub(super) fn listen() -> io::Result<()> {
        let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGTSTP];
        let heard = all.into_iter().filter(|&signal| !is_ignored(signal));
        let mut signals = Signals::new(heard.map(|signal| signal as i32))?;
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGHUP => super::stop("the terminal hung up"),
                    SIGTSTP => suspend(),
                    _ => super::request(),
                }
            }
        })?;
        Ok(())
    }

    pub(super) fn end() -> ! {
        // Without destructors: other threads are computing.
        low_level::exit(130)
    }

    /// Ctrl-Z: the process stops as it would without a handler, with the terminal as it was. The
    /// dashboard comes back when the process goes on in the foreground.
    fn suspend() {
        let leaving = terminal::leave();
        if let Some(ours) = replace(Signal::SIGTSTP, SigHandler::SigDfl) {
            let _ = raise(Signal::SIGTSTP);
            // SAFETY: this is the handler that was there before, signal-hook's.
            let _ = unsafe { sigaction(Signal::SIGTSTP, &ours) };
        }
        drop(leaving);
    }

    fn is_ignored(signal: Signal) -> bool {
        let Some(before) = replace(signal, SigHandler::SigIgn) else { return false };
        // SAFETY: this is what the signal did before; nothing of this program handles it yet.
        let _ = unsafe { sigaction(signal, &before) };
        matches!(before.handler(), SigHandler::SigIgn)
    }

    /// Returns what a signal did before.
    fn replace(signal: Signal, handler: SigHandler) -> Option<SigAction> {
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: the handlers given here are the system's own: no code of this process runs.
        unsafe { sigaction(signal, &action) }.ok()
    }
}

#[cfg(not(unix))]
mod system {
    use std::{io, process};

    pub(super) fn listen() -> io::Result<()> {
        ctrlc::set_handler(super::request).map_err(io::Error::other)
    }

    pub(super) fn end() -> ! {
        process::exit(130)
    }
}

fn end_at_once() -> ! {
    // The guard is kept: nothing is drawn any more.
    let _leaving = terminal::leave();
    system::end()
}
