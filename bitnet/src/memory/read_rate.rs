use std::{hint::black_box, time::Instant};

use rayon::prelude::*;

/// Bytes that a thread reads in one go.
const BYTES_PER_READ: usize = 1 << 20;
/// Readings of which the fastest counts.
const READS_MEASURED: usize = 3;

/// How fast the machine reads memory, measured by reading arrays where they are.
#[derive(Debug)]
pub struct ReadRate<'a>(Vec<&'a [u8]>);

impl<'a> ReadRate<'a> {
    /// To be measured with these arrays.
    pub fn new(arrays: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(arrays.into_iter().flat_map(|array| array.chunks(BYTES_PER_READ)).collect())
    }

    /// Reads them with all threads; returns bytes per second, of the fastest of some readings.
    pub fn measure(&self) -> f64 {
        let bytes: usize = self.0.iter().map(|piece| piece.len()).sum();
        let seconds = (0..READS_MEASURED).map(|_| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read() {
        for at in [0, 7, 8, 2 * BYTES_PER_READ, 2 * BYTES_PER_READ + 2] {
            let mut bytes = vec![0; 2 * BYTES_PER_READ + 3];
            bytes[at] = 4;
            let rate = ReadRate::new([&bytes[..]]);
            assert_eq!(
                rate.0.iter().map(|piece| fold(piece)).max().unwrap().count_ones(),
                1,
                "{at}"
            );
            assert!(rate.measure() > 0.0);
        }
    }
}
