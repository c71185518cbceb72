//! Limits on the size of files (`ulimit -f`).

/// For the beginning of a program: where a file would grow beyond the system's limit, writing fails,
/// and is told like a full disk, instead of a signal that ends the process without a word.
#[cfg(unix)]
pub fn fail_on_full_files() {
    use std::sync::{Arc, atomic::AtomicBool};

    use signal_hook::{consts::SIGXFSZ, flag::register};

    // With any handler the call fails. Without one the signal ends the process, as before.
    drop(register(SIGXFSZ, Arc::new(AtomicBool::new(false))));
}

#[cfg(not(unix))]
pub fn fail_on_full_files() {}
