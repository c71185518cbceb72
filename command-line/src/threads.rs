use std::{env, fs};

use bitnet::backend::{self, BackendError, BackendKind, MAX_THREADS, PRODUCTS_VARIABLE};

/// Where rayon reads the number of its threads, unless it was set.
const POOL: [&str; 2] = ["RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS"];

/// Checks the number of threads in the environment, which rayon would start whatever it is. For
/// the beginning of a program.
///
/// # Errors
/// [`BackendError::Threads`] above [`MAX_THREADS`].
pub fn check_threads() -> Result<(), BackendError> {
    for name in POOL {
        let threads = env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(0);
        if threads > MAX_THREADS {
            let reason = format!("{name} must be at most {MAX_THREADS}");
            return Err(BackendError::Threads { threads, reason });
        }
    }
    Ok(())
}

/// [`backend::limit_threads`], with the environment that it asks for as long as the process has no
/// other thread.
///
/// # Errors
/// As that function.
pub fn limit_threads(kind: BackendKind, threads: usize) -> Result<(), BackendError> {
    if kind == BackendKind::NdArray && (1..=MAX_THREADS).contains(&threads) {
        set_products(threads);
    }
    backend::limit_threads(kind, threads)
}

/// Sets the number of threads of ndarray's matrix products, where that is sound.
fn set_products(threads: usize) {
    if is_only_thread() {
        // SAFETY: no other thread reads the environment meanwhile, as there is none.
        #[expect(unsafe_code, reason = "there is no other way to tell matrixmultiply")]
        unsafe {
            env::set_var(PRODUCTS_VARIABLE, threads.to_string());
        }
    }
}

/// Whether the process has one thread; where that is not known, it has not.
fn is_only_thread() -> bool {
    fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The environment is not changed under the feet of others, the thread of this test and the
    /// one that started it.
    #[test]
    fn beside_other_threads_the_environment_stays() {
        let before = env::var(PRODUCTS_VARIABLE);
        set_products(if before.as_deref() == Ok("2") { 3 } else { 2 });
        assert_eq!(env::var(PRODUCTS_VARIABLE), before);
    }
}
