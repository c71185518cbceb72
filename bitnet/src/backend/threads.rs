use std::{
    env, fs,
    sync::{Mutex, PoisonError},
};

use super::{BackendError, BackendKind};

/// The number of threads of rayon's pool, once it was set.
static LIMIT: Mutex<Option<usize>> = Mutex::new(None);

/// Most threads that are started for one operation.
pub const MAX_THREADS: usize = 1024;

/// Where rayon reads the number of its threads, unless it was set.
const POOL_VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS"];

/// Where matrixmultiply, which computes the products of burn-ndarray, reads the number of its
/// threads at the first of them.
const MATMUL_VARIABLE: &str = "MATMUL_NUM_THREADS";

/// Bounds the threads of one operation on the CPU. To be called before anything is computed;
/// afterwards the same number is no trouble, another one is an error.
///
/// flex and ndarray share out what they do in parallel over rayon's pool; ndarray's matrix
/// products have threads of their own, four at most, whose number is in the environment variable
/// `MATMUL_NUM_THREADS`: it is set here as long as the process has no other thread. LibTorch has
/// its own pool.
///
/// # Errors
/// [`BackendError::Threads`] for zero, after something was computed, on a backend that computes
/// elsewhere, and for ndarray where `MATMUL_NUM_THREADS` is another number and cannot be set.
pub fn limit_threads(kind: BackendKind, threads: usize) -> Result<(), BackendError> {
    let error = |reason: String| BackendError::Threads { threads, reason };
    if !(1..=MAX_THREADS).contains(&threads) {
        return Err(error(format!("must be 1 to {MAX_THREADS}")));
    }
    match kind {
        BackendKind::Flex | BackendKind::NdArray => {
            if kind == BackendKind::NdArray {
                limit_products(threads).map_err(error)?;
            }
            let mut limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
            if *limit != Some(threads) {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build_global()
                    .map_err(|reason| error(reason.to_string()))?;
                *limit = Some(threads);
            }
            Ok(())
        }
        #[cfg(feature = "tch")]
        BackendKind::Tch => {
            tch::set_num_threads(threads as i32);
            Ok(())
        }
        _ => Err(error(format!("backend \"{kind}\" does not compute on the CPU's threads"))),
    }
}

/// Checks the number of threads in the environment, which rayon would start whatever it is. For
/// the beginning of a program.
///
/// # Errors
/// [`BackendError::Threads`] above [`MAX_THREADS`].
pub fn check_threads() -> Result<(), BackendError> {
    for name in POOL_VARIABLES {
        let threads = env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(0);
        if threads > MAX_THREADS {
            let reason = format!("{name} must be at most {MAX_THREADS}");
            return Err(BackendError::Threads { threads, reason });
        }
    }
    Ok(())
}

/// Bounds the threads of ndarray's matrix products.
fn limit_products(threads: usize) -> Result<(), String> {
    let number = threads.to_string();
    if env::var(MATMUL_VARIABLE).is_ok_and(|set| set == number) {
        return Ok(());
    }
    if !is_only_thread() {
        return Err(format!(
            "set {MATMUL_VARIABLE}={number} for ndarray's products before the start"
        ));
    }
    // SAFETY: no other thread reads the environment meanwhile, as there is none.
    #[expect(unsafe_code, reason = "there is no other way to tell matrixmultiply")]
    unsafe {
        env::set_var(MATMUL_VARIABLE, number);
    }
    Ok(())
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
        let threads = if env::var(MATMUL_VARIABLE).is_ok_and(|set| set == "2") { 3 } else { 2 };
        let before = env::var(MATMUL_VARIABLE);
        let reason = limit_products(threads).unwrap_err();
        assert!(reason.contains(&format!("{MATMUL_VARIABLE}={threads}")), "{reason}");
        assert_eq!(env::var(MATMUL_VARIABLE), before);
    }
}
