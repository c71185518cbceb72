//! How the engine uses rayon's pool.

use std::{
    cell::Cell,
    hint,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rayon::Yield;

/// Looks for work without success after which a thread yields the processor.
const SPINS_PER_YIELD: usize = 64;
/// Yields after which it goes to sleep.
const YIELDS_BEFORE_SLEEP: usize = 256;

thread_local! {
    /// Whether this thread is running the part of [`in_pool`] that all others wait for.
    static LEADS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a thread of rayon's pool, so that its parts need not be handed to one each.
///
/// The other threads stay awake meanwhile: a token is hundreds of products of some microseconds,
/// and what lies between two of them is done by one thread. Woken for each, a thread would come
/// too late for most.
pub(super) fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let done = AtomicBool::new(false);
    rayon::scope(|scope| {
        let led = LEADS.replace(true);
        scope.spawn_broadcast(|_, _| stay_awake(&done));
        let result = work();
        done.store(true, Ordering::Release);
        LEADS.set(led);
        result
    })
}

/// Works for the pool until `done`, or until there has been nothing to do for long: another
/// caller's work may be what this thread had better go back to.
fn stay_awake(done: &AtomicBool) {
    if LEADS.get() {
        return;
    }
    let mut idle = 0;
    while !done.load(Ordering::Acquire) && idle < SPINS_PER_YIELD * YIELDS_BEFORE_SLEEP {
        match rayon::yield_now() {
            Some(Yield::Executed) => idle = 0,
            _ => {
                idle += 1;
                match idle % SPINS_PER_YIELD {
                    0 => thread::yield_now(),
                    _ => hint::spin_loop(),
                }
            }
        }
    }
}
