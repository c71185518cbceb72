use std::{panic::resume_unwind, thread};

use anyhow::Context;
use bitnet::ops::Implementation;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Threads that compute micro-batches at the same time.
///
/// Each has its share of the processor to itself: what it would compute in parallel does not wait
/// for the other workers, which have enough to do.
pub struct Workers(Vec<ThreadPool>);

impl Workers {
    /// `count` workers.
    pub fn new(count: usize) -> anyhow::Result<Self> {
        let threads = (rayon::current_num_threads() / count.max(1)).max(1);
        let pool = |_| ThreadPoolBuilder::new().num_threads(threads).build();
        // One worker is the calling thread, with all threads.
        let pools = if count > 1 { (0..count).map(pool).collect() } else { Ok(Vec::new()) };
        Ok(Self(pools.context("cannot start the workers' threads")?))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len().max(1)
    }

    /// Does at most one piece of work with each worker, and returns the results in their order. The
    /// workers compute by the [`Implementation`] of the calling thread.
    pub fn run<T: Send, W: FnOnce() -> T + Send>(&self, work: Vec<W>) -> Vec<T> {
        if self.0.is_empty() {
            return work.into_iter().map(|work| work()).collect();
        }
        assert!(work.len() <= self.0.len(), "a worker has one piece of work at a time");
        let implementation = Implementation::current();
        thread::scope(|scope| {
            let threads: Vec<_> = work
                .into_iter()
                .zip(&self.0)
                .map(|(work, pool)| {
                    scope.spawn(move || pool.install(|| implementation.scope(work)))
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_compute_by_the_implementation_of_the_caller() {
        for count in [1, 2] {
            let workers = Workers::new(count).unwrap();
            for choice in [Implementation::Composed, Implementation::Fused] {
                let work = vec![Implementation::current; count];
                assert_eq!(choice.scope(|| workers.run(work)), vec![choice; count]);
            }
        }
    }
}
