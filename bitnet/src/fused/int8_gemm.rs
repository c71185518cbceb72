//! Products of 8-bit activations and ternary codes, in integers.
//!
//! The weight lies in panels of 16 output columns. Of each column, four codes that follow one
//! another along the inputs are a 32-bit word, so that one `vpdpbusd` multiplies and adds 64
//! codes: as unsigned bytes, which is why codes are stored raised by one, and the sum of the
//! activations is taken off at the end. A sum is below 2^31 for up to 2^22 inputs.

#![allow(unsafe_code, reason = "vector intrinsics over raw pointers")]

use rayon::prelude::*;

/// Output columns of a panel.
const LANES: usize = 16;
/// Inputs of a word.
pub(super) const QUAD: usize = 4;
/// Most inputs whose products cannot overflow.
const MAX_INPUTS: usize = 1 << 22;

/// Activations as 8-bit codes, rows padded with zeros to whole words.
#[derive(Debug, Clone)]
pub(super) struct Codes {
    /// `[rows, 4 · words]`
    pub(super) codes: Vec<i8>,
    /// Codes of a word of each row.
    pub(super) words: usize,
    /// Values are `codes / scale`; NaN where a row is not finite.
    pub(super) scales: Vec<f32>,
    /// Sum of each row's codes.
    pub(super) sums: Vec<i32>,
}

/// A ternary weight `[d_input, d_output]` in panels: `[panels, words, 16]`, each word four codes
/// raised by one. Columns beyond the last are zero.
#[derive(Debug)]
pub(super) struct Panels {
    pub(super) words: Vec<u32>,
    pub(super) d_output: usize,
}

impl Panels {
    /// Lays out `code(w)` of each weight of `[d_input, d_output]`, where `code` gives 0, 1 or 2.
    #[inline(always)]
    pub(super) fn pack(weight: &[f32], d_output: usize, code: impl Fn(f32) -> u32) -> Self {
        let d_input = weight.len() / d_output;
        let depth = d_input.div_ceil(QUAD);
        let panels = d_output.div_ceil(LANES);
        let mut words = vec![0; panels * depth * LANES];
        for (input, row) in weight.chunks_exact(d_output).enumerate() {
            let (word, byte) = (input / QUAD, input % QUAD);
            for (panel, values) in row.chunks(LANES).enumerate() {
                let words = &mut words[(panel * depth + word) * LANES..][..values.len()];
                for (word, &value) in words.iter_mut().zip(values) {
                    *word |= code(value) << (8 * byte);
                }
            }
        }
        Self { words, d_output }
    }
}

/// Whether this processor has the instructions.
pub(super) fn is_supported(d_input: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has && d_input <= MAX_INPUTS
}

/// `y = x · w` with `x` and `w` dequantised: codes multiplied in integers, exactly, then by the
/// scale of both, once.
///
/// # Panics
/// If not [`is_supported`].
pub(super) fn product(x: &Codes, w: &Panels, weight_scale: f32) -> Vec<f32> {
    /// Rows that are one piece of work.
    const PIECE: usize = 48;
    assert!(is_supported(x.words * QUAD), "the processor has been asked");
    let rows = x.scales.len();
    let mut y = vec![0.0; rows * w.d_output];
    let piece = |(piece, y): (usize, &mut [f32])| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has the instructions, as `is_supported` has said.
        unsafe {
            vnni::rows(x, piece * PIECE, w, weight_scale, y);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (piece, y, weight_scale);
    };
    let pieces = y.chunks_mut(PIECE * w.d_output.max(1)).enumerate();
    if rows * w.words.len() < 1 << 20 || rayon::current_num_threads() == 1 {
        pieces.for_each(piece);
    } else {
        y.par_chunks_mut(PIECE * w.d_output).enumerate().for_each(piece);
    }
    y
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::*;

    use super::{Codes, LANES, Panels, QUAD};

    /// Rows and panels that are computed together: 6 · 4 sums fill the registers.
    const ROWS: usize = 6;
    const PANELS: usize = 4;

    /// The rows of the product that `y` holds, the first of which is `first`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn rows(x: &Codes, first: usize, w: &Panels, weight_scale: f32, y: &mut [f32]) {
        let panels = w.d_output.div_ceil(LANES);
        let count = y.len() / w.d_output;
        for panel in (0..panels).step_by(PANELS) {
            for row in (0..count).step_by(ROWS) {
                let tile = Tile { x, row: first + row, w, panel, weight_scale };
                let y = &mut y[row * w.d_output..];
                let width = PANELS.min(panels - panel);
                match (ROWS.min(count - row), width) {
                    (6, 4) => tile.compute::<6, 4>(y),
                    (6, 3) => tile.compute::<6, 3>(y),
                    (6, 2) => tile.compute::<6, 2>(y),
                    (6, _) => tile.compute::<6, 1>(y),
                    (rows, 4) => {
                        (0..rows)
                            .for_each(|i| tile.below(i).compute::<1, 4>(&mut y[i * w.d_output..]));
                    }
                    (rows, width) => {
                        for i in 0..rows {
                            for panel in 0..width {
                                let tile = tile.below(i).right(panel);
                                tile.compute::<1, 1>(&mut y[i * w.d_output..]);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Where a block of the product lies.
    #[derive(Clone, Copy)]
    struct Tile<'a> {
        x: &'a Codes,
        row: usize,
        w: &'a Panels,
        panel: usize,
        weight_scale: f32,
    }

    impl Tile<'_> {
        fn below(self, rows: usize) -> Self {
            Self { row: self.row + rows, ..self }
        }

        fn right(self, panels: usize) -> Self {
            Self { panel: self.panel + panels, ..self }
        }

        /// Computes `R` rows of `P` panels. `y` starts with the first row of the block, and has
        /// all columns.
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        fn compute<const R: usize, const P: usize>(self, y: &mut [f32]) {
            let Self { x, row, w, panel, weight_scale } = self;
            let (depth, d_output) = (x.words, w.d_output);
            assert!(x.codes.len() >= (row + R) * depth * QUAD);
            assert!(w.words.len() >= (panel + P) * depth * LANES);
            assert!(y.len() >= (R - 1) * d_output + d_output.min((panel + P) * LANES));
            // SAFETY: all offsets below stay within the lengths just checked.
            let (codes, words) = unsafe {
                (
                    x.codes.as_ptr().add(row * depth * QUAD).cast::<i32>(),
                    w.words.as_ptr().add(panel * depth * LANES).cast::<i32>(),
                )
            };
            let mut sums = [[_mm512_setzero_si512(); P]; R];
            for word in 0..depth {
                let weights: [__m512i; P] = std::array::from_fn(|p| {
                    // SAFETY: word < depth and p < P: within panels panel .. panel + P.
                    unsafe { _mm512_loadu_si512(words.add((p * depth + word) * LANES).cast()) }
                });
                for (r, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: r < R and word < depth: within rows row .. row + R.
                    let codes = unsafe { codes.add(r * depth + word).read_unaligned() };
                    let codes = _mm512_set1_epi32(codes);
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = _mm512_dpbusd_epi32(*sum, weights, codes);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let raised = _mm512_set1_epi32(x.sums[row + r]);
                let scale = _mm512_set1_ps(weight_scale * x.scales[row + r].recip());
                for (p, sum) in sums.into_iter().enumerate() {
                    let column = (panel + p) * LANES;
                    let lanes = LANES.min(d_output - column);
                    let mask = (0xFFFF_u32 >> (LANES - lanes)) as u16;
                    let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, raised));
                    let values = _mm512_mul_ps(sum, scale);
                    // SAFETY: the lanes under the mask end at column d_output of row r.
                    unsafe {
                        let to = y.as_mut_ptr().add(r * d_output + column);
                        _mm512_mask_storeu_ps(to, mask, values);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Codes and a weight from small seeds: cheap to shrink, and any shape.
    fn example(rows: usize, d_input: usize, d_output: usize, seed: i32) -> (Codes, Vec<f32>) {
        let noise = |i: usize| (i as i32).wrapping_mul(1_103_515_245).wrapping_add(seed) >> 8;
        let words = d_input.div_ceil(QUAD);
        let mut codes = vec![0; rows * words * QUAD];
        for row in 0..rows {
            for input in 0..d_input {
                codes[row * words * QUAD + input] = (noise(row * d_input + input) % 128) as i8;
            }
        }
        let sums = codes
            .chunks_exact(words * QUAD)
            .map(|row| row.iter().map(|&code| i32::from(code)).sum())
            .collect();
        let weight = (0..d_input * d_output).map(|i| (noise(i + 7) % 2) as f32).collect();
        (Codes { codes, words, scales: vec![1.0; rows], sums }, weight)
    }

    fn check(x: &Codes, weight: &[f32], d_output: usize) {
        if !is_supported(weight.len() / d_output) {
            return;
        }
        let panels = Panels::pack(weight, d_output, |w| (w + 1.0) as u32);
        let y = product(x, &panels, 1.0);
        for (row, y) in y.chunks_exact(d_output).enumerate() {
            for (column, &y) in y.iter().enumerate() {
                let expected: i64 = weight
                    .chunks_exact(d_output)
                    .zip(&x.codes[row * x.words * QUAD..])
                    .map(|(weight, &code)| weight[column] as i64 * i64::from(code))
                    .sum();
                assert_eq!(y, expected as f32, "row {row}, column {column}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_product_is_that_of_the_integers(
            rows in 1_usize..70,
            d_input in 1_usize..90,
            d_output in 1_usize..90,
            seed in any::<i32>(),
        ) {
            let (x, weight) = example(rows, d_input, d_output, seed);
            check(&x, &weight, d_output);
        }
    }

    #[test]
    fn the_product_of_extreme_codes_does_not_wrap() {
        for code in [-128, 127] {
            let d_input = 16_384;
            let x = Codes {
                codes: vec![code; d_input],
                words: d_input / QUAD,
                scales: vec![1.0],
                sums: vec![d_input as i32 * i32::from(code)],
            };
            for weight in [-1.0, 1.0] {
                check(&x, &vec![weight; d_input], 1);
            }
        }
    }
}
