//! How fast the machine reads memory.

use std::{hint::black_box, time::Instant};

use bitnet::engine::Engine;
use rayon::prelude::*;

/// Bytes that a thread reads in one go.
const PIECE: usize = 1 << 20;
/// Readings of which the fastest counts.
const READINGS: usize = 3;

/// The weights of a model, where they are, to be read for the reading's sake.
pub struct Yardstick<'a>(Vec<&'a [u8]>);

impl<'a> Yardstick<'a> {
    /// That of a model.
    pub fn new(engine: &'a Engine) -> Self {
        Self(engine.arrays().flat_map(|array| array.chunks(PIECE)).collect())
    }

    /// Bytes a second of reading them with all threads.
    pub fn read(&self) -> f64 {
        let bytes: usize = self.0.iter().map(|piece| piece.len()).sum();
        let seconds = (0..READINGS).map(|_| {
            let start = Instant::now();
            let pieces = self.0.par_iter();
            black_box(pieces.map(|piece| fold(piece)).reduce(|| 0, |a, b| a | b));
            start.elapsed().as_secs_f64()
        });
        bytes as f64 / seconds.fold(f64::INFINITY, f64::min)
    }
}

/// All bits that are set anywhere.
fn fold(piece: &[u8]) -> u64 {
    let (words, rest) = piece.as_chunks::<8>();
    let words = words.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word));
    rest.iter().fold(words, |all, &byte| all | u64::from(byte))
}
