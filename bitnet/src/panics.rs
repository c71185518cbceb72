//! Backends panic where they cannot go on: without a driver, and above all without memory.

use std::{
    any::Any,
    cell::Cell,
    fmt,
    panic::{self, AssertUnwindSafe, Location},
};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// What a backend said that could not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    message: String,
    place: Option<String>,
}

impl Panic {
    /// A panic by its payload, and by where it was where that is known: in a hook.
    pub fn new(payload: &(dyn Any + Send), place: Option<&Location<'_>>) -> Self {
        let place = place.map(|at| format!("{}:{}", at.file(), at.line()));
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

/// Calls `work`, and turns its panic into an error. Panics of other threads are not concerned.
///
/// The hook of the process is called all the same, and that of the standard library prints. A
/// program that wants silence sets a hook ([`std::panic::set_hook`]) that does nothing where
/// [`is_catching`].
///
/// # Errors
/// The panic.
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    let outer = CATCHING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    result.map_err(|payload| Panic::new(&*payload, None))
}

/// Whether this thread is in a [`catch_panic`], so that a panic becomes an error.
pub fn is_catching() -> bool {
    CATCHING.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_line() {
        assert_eq!(catch_panic(|| 7), Ok(7));
        assert_eq!(catch_panic(is_catching), Ok(true));
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
        assert!(!is_catching());
    }
}
