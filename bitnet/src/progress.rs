//! How far long work on files is: reading, tokenising, downloading.

use std::{
    env,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal;

/// Receives the progress of long work.
pub trait Progress: Send + Sync {
    /// Work on `bytes` bytes begins.
    fn start(&self, what: &str, bytes: u64);

    /// So many more bytes are done.
    fn advance(&self, bytes: u64);

    /// The work is over.
    fn finish(&self);

    /// Something happened that the user should know of.
    fn say(&self, line: &str);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _what: &str, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}

    fn finish(&self) {}

    fn say(&self, _line: &str) {}
}

/// A bar on standard error where that is a terminal, and lines there in any case.
#[derive(Debug, Default)]
pub struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    fn with<T>(&self, act: impl FnOnce(&mut Option<ProgressBar>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Progress for Bar {
    fn start(&self, what: &str, bytes: u64) {
        let template = "{msg} {bar:40} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
        // An unset `TERM` and "dumb" are known to indicatif, an empty one is not.
        let bar = match env::var_os("TERM").is_some_and(|term| term.is_empty()) {
            true => ProgressBar::hidden(),
            false => ProgressBar::new(bytes),
        };
        let bar = bar.with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        self.with(|current| *current = Some(bar));
    }

    fn advance(&self, bytes: u64) {
        self.with(|current| current.iter().for_each(|bar| bar.inc(bytes)));
    }

    fn finish(&self) {
        self.with(|current| current.take().iter().for_each(ProgressBar::finish_and_clear));
    }

    fn say(&self, line: &str) {
        let line = terminal::line(line);
        // Not `eprintln!`, which panics where standard error is closed.
        let print = || _ = writeln!(io::stderr(), "{line}");
        self.with(|current| match current {
            Some(bar) => bar.suspend(print),
            None => print(),
        });
    }
}
