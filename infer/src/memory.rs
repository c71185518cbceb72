//! How fast the machine reads memory.

use std::{hint::black_box, time::Instant};

use rayon::prelude::*;

/// Bytes that a thread reads in one go.
const PIECE: usize = 1 << 20;
/// Readings of which the fastest counts.
const READINGS: usize = 3;

/// As many bytes as a generated token reads, to be read for their own sake.
pub struct Yardstick(Vec<u64>);

impl Yardstick {
    /// One of `bytes`.
    pub fn new(bytes: usize) -> Self {
        // Not zeros, for which a system need not have memory.
        Self((0..bytes.div_ceil(8) as u64).into_par_iter().collect())
    }

    /// Bytes a second of reading it with all threads.
    pub fn read(&self) -> f64 {
        let bytes = size_of_val(&self.0[..]) as f64;
        let seconds = (0..READINGS).map(|_| {
            let start = Instant::now();
            let pieces = self.0.par_chunks(PIECE / 8);
            black_box(
                pieces
                    .map(|piece| piece.iter().fold(0, |all, x| all | x))
                    .reduce(|| 0, |a, b| a | b),
            );
            start.elapsed().as_secs_f64()
        });
        bytes / seconds.fold(f64::INFINITY, f64::min)
    }
}
