//! Files that are cut short while they are mapped into memory.

/// What is said where pages that were mapped cannot be read any more.
#[cfg(unix)]
const LINE: &[u8] = b"error: a file in use was cut short by another program, or its disk failed: \
                      restore it and start again\n";

/// For the beginning of a program: where a file that is mapped into memory is cut short, or its disk fails, the
/// process ends with a line and exit code 1, instead of by the signal that the system sends then.
#[cfg(unix)]
pub fn exit_on_cut_files() {
    use std::{io::stderr, os::fd::AsFd};

    use signal_hook::{
        consts::SIGBUS,
        low_level::{exit, register},
    };

    let action = || {
        // Not by `Write`, which waits for a lock that may be held. Whether it comes out or not,
        // this is the end.
        let _ = rustix::io::write(stderr().as_fd(), LINE);
        exit(1);
    };
    #[expect(unsafe_code, reason = "an action may run in the middle of anything")]
    // SAFETY: the action does nothing but two calls of the system, `write` and `_exit`, which may
    // be made in a signal handler: it takes no lock, allocates nothing and touches no memory but a
    // constant. It never returns to the instruction that failed.
    let registered = unsafe { register(SIGBUS, action) };
    // Without a handler the signal itself ends the process, as before.
    drop(registered);
}

#[cfg(not(unix))]
pub fn exit_on_cut_files() {}
