use std::sync::{Mutex, PoisonError};

use super::{BackendError, BackendKind};

/// The number of threads of rayon's pool, once it was set.
static LIMIT: Mutex<Option<usize>> = Mutex::new(None);

/// Bounds the threads of one operation on the CPU. To be called before anything is computed;
/// afterwards the same number is no trouble, another one is an error.
///
/// flex and ndarray share out what they do in parallel over rayon's pool; ndarray's matrix
/// products have threads of their own, whose number is in the environment variable
/// `MATMUL_NUM_THREADS`. LibTorch has its own pool.
///
/// # Errors
/// [`BackendError::Threads`] for zero, after something was computed, or on a backend that computes
/// elsewhere.
pub fn limit_threads(kind: BackendKind, threads: usize) -> Result<(), BackendError> {
    let error = |reason: String| BackendError::Threads { threads, reason };
    if !(1..=1024).contains(&threads) {
        return Err(error("must be 1 to 1024".into()));
    }
    match kind {
        BackendKind::Flex | BackendKind::NdArray => {
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
