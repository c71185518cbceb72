//! How much memory is taken.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    panic,
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bitnet::backend::is_catching;

#[global_allocator]
static COUNTED: Counted = Counted;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static TURN: Mutex<()> = Mutex::new(());

/// The system's allocator, watched.
struct Counted;

fn taken(bytes: usize) {
    PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

#[expect(unsafe_code, reason = "allocators are")]
// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`: a layout that is not empty.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`: a layout that is not empty.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: every block comes from the system's allocator, and the caller passes its layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        taken(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: every block comes from the system's allocator, and the caller passes its layout.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// To be held by each test from its first line on: what others take meanwhile would be counted.
/// Panics that the library catches are not printed, as a backtrace takes more memory than a test
/// allows.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !is_catching() {
                print(info);
            }
        }));
    });
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does `work`; returns the most memory that was taken meanwhile. In a test's [`turn`].
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    assert!(TURN.try_lock().is_err(), "what other tests take is counted");
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let value = work();
    (value, PEAK.load(Relaxed).saturating_sub(before))
}
