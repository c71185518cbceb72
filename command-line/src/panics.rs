use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use bitnet::backend::{Panic, is_catching};
use signal_hook::{consts::SIGABRT, flag};

/// The first panic, which others follow from.
static FIRST: Mutex<Option<Panic>> = Mutex::new(None);

/// For the outermost function of a program, once: calls `work`, and turns its panic into an error.
/// From then on no panic of any thread is printed. Where Rust itself gives up, as when an
/// allocation on the CPU fails, the process ends with its line and exit code 1, instead of a signal
/// and a core.
///
/// # Errors
/// The first panic of any thread, if there was one that `work` did not survive.
pub fn catch_all_panics<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    panic::set_hook(Box::new(|info| {
        if !is_catching() {
            let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| Panic::new(info.payload(), info.location()));
        }
    }));
    // Without a handler, which no system here lacks, aborting is as before.
    let always = Arc::new(AtomicBool::new(true));
    let _ = flag::register_conditional_shutdown(SIGABRT, 1, always);
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| Panic::new(&*payload, None))
    })
}
