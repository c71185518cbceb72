use std::{
    env,
    sync::{Mutex, PoisonError},
};

use super::{BackendError, BackendKind};

/// The number of threads of rayon's pool, once it was set.
static LIMIT: Mutex<Option<usize>> = Mutex::new(None);

/// Most threads that are started for one operation.
pub const MAX_THREADS: usize = 1024;

/// The variable of the environment in which matrixmultiply, which computes the products of
/// burn-ndarray, reads the number of its threads at the first of them.
pub const PRODUCTS_VARIABLE: &str = "MATMUL_NUM_THREADS";

/// Bounds the threads of one operation on the CPU, in the whole process: for its program, before
/// anything is computed. Afterwards the same number is no trouble, another one is an error.
///
/// flex and ndarray share out what they do in parallel over rayon's global pool; ndarray's matrix
/// products have threads of their own, four at most, whose number is in the environment as
/// [`PRODUCTS_VARIABLE`]. LibTorch has its own pool.
///
/// # Errors
/// [`BackendError::Threads`] for zero, after something was computed, on a backend that computes
/// elsewhere, and for ndarray where [`PRODUCTS_VARIABLE`] is not that number.
pub fn limit_threads(kind: BackendKind, threads: usize) -> Result<(), BackendError> {
    let error = |reason: String| BackendError::Threads { threads, reason };
    if !(1..=MAX_THREADS).contains(&threads) {
        return Err(error(format!("must be 1 to {MAX_THREADS}")));
    }
    match kind {
        BackendKind::Flex | BackendKind::NdArray => {
            let set = env::var(PRODUCTS_VARIABLE).ok().and_then(|number| number.parse().ok());
            if kind == BackendKind::NdArray && set != Some(threads) {
                return Err(error(format!(
                    "set {PRODUCTS_VARIABLE}={threads} for ndarray's products before the start"
                )));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_another_number_are_refused() {
        let set = env::var(PRODUCTS_VARIABLE).ok().and_then(|number| number.parse().ok());
        let threads = if set == Some(2) { 3 } else { 2 };
        let error = limit_threads(BackendKind::NdArray, threads).unwrap_err().to_string();
        assert!(error.contains(&format!("{PRODUCTS_VARIABLE}={threads}")), "{error}");
    }
}
