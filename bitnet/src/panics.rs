//! Backends panic where they cannot go on: without a driver, and above all without memory.

use std::{
    any::Any,
    cell::Cell,
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::consts::SIGABRT;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}
static CATCHING_ALL: AtomicBool = AtomicBool::new(false);
/// The first panic, which others follow from.
static FIRST: Mutex<Option<Panic>> = Mutex::new(None);

/// A panic that was caught before it was printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    message: String,
    place: Option<String>,
}

impl Panic {
    fn new(payload: &(dyn Any + Send), place: Option<String>) -> Self {
        let message = (payload.downcast_ref::<String>().map(String::as_str))
            .or(payload.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a message");
        Self { message: message.into(), place }
    }

    /// Whether the device had no memory left, as far as the backend's words tell.
    pub fn is_out_of_memory(&self) -> bool {
        let words = self.message.to_lowercase();
        ["out of memory", "outofmemory", "not enough memory", "can't allocate", "buffertoobig"]
            .iter()
            .any(|sign| words.contains(sign))
    }

    /// Whether the system gave no more threads: rayon and the standard library panic then.
    pub fn is_out_of_threads(&self) -> bool {
        ["ThreadPoolBuildError", "failed to spawn thread"]
            .iter()
            .any(|sign| self.message.contains(sign))
    }

    /// What a program says that ends for it.
    pub fn report(&self) -> String {
        match (self.is_out_of_memory(), self.is_out_of_threads()) {
            (true, _) => format!("out of memory: {self}"),
            (_, true) => self.to_string(),
            _ => format!("the computation failed: {self}"),
        }
    }
}

/// One line.
impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_out_of_threads() {
            return f.write_str(
                "the system gives no more threads; allow more processes (ulimit -u) or compute on \
                 fewer threads (--threads, backend.threads or RAYON_NUM_THREADS)",
            );
        }
        // LibTorch appends its stack.
        let message = self.message.split("\\n").next().unwrap_or_default();
        let words: Vec<&str> = message.split_whitespace().collect();
        f.write_str(&words.join(" "))?;
        match &self.place {
            // Where memory ran out says nothing of why.
            Some(place) if !self.is_out_of_memory() => write!(f, " ({place})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Panic {}

/// Calls `work`, and turns its panic into an error. Nothing is printed; panics of other threads
/// are not concerned.
///
/// # Errors
/// The panic.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    install_hook();
    let outer = CATCHING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    result.map_err(|payload| Panic::new(&*payload, None))
}

/// For the outermost function of a program: as [`catch_panic`], but silences all threads, for
/// good. Where Rust itself gives up, as when an allocation on the CPU fails, the process ends with
/// its line and exit code 1, instead of a signal and a core.
///
/// # Errors
/// The first panic of any thread, if there was one that `work` did not survive.
pub fn catch_all_panics<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    install_hook();
    // Without a handler, which no system here lacks, aborting is as before.
    let always = Arc::new(AtomicBool::new(true));
    let _ = signal_hook::flag::register_conditional_shutdown(SIGABRT, 1, always);
    CATCHING_ALL.store(true, Ordering::Relaxed);
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| Panic::new(&*payload, None))
    })
}

fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                return;
            }
            if !CATCHING_ALL.load(Ordering::Relaxed) {
                return print(info);
            }
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
            let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| Panic::new(info.payload(), place));
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_line() {
        assert_eq!(catch_panic(|| 7), Ok(7));
        let panic = catch_panic(|| panic!("no\n  {}\\nframe #0: main", "adapter")).unwrap_err();
        assert_eq!(panic.to_string(), "no adapter");
        assert!(!panic.is_out_of_memory());
        let spawn =
            catch_panic(|| panic!("failed to spawn thread: Os {{ code: 11 }}")).unwrap_err();
        assert!(spawn.is_out_of_threads() && spawn.report().contains("ulimit -u"), "{spawn}");
        let inner = catch_panic(|| catch_panic(|| panic!("CUDA Out Of Memory"))).unwrap();
        assert!(inner.unwrap_err().is_out_of_memory());
        let silent = catch_panic(|| panic::panic_any(5)).unwrap_err();
        assert_eq!(silent.to_string(), "a panic without a message");
    }
}
