//! Products of the backward pass in bfloat16, added up in f32.
//!
//! One operand is the gradient of the output, rounded to bf16; the other one holds codes, ternary
//! or of 8 bits, which bf16 represents exactly. `vdpbf16ps` multiplies two of each for every sum,
//! twice the rate of f32 (AMD from Zen 4 on; with AVX-512 units for f32 on both ports, as some of
//! Intel's have, there is no such gain).

#![allow(unsafe_code, reason = "vector intrinsics over raw pointers")]

use rayon::prelude::*;

use super::bf16_operands::{LANES, Left, ROWS, Right};

/// Rows that are one piece of work.
const PIECE: usize = 8 * ROWS;

/// Whether this processor has the instructions.
pub(super) fn is_supported() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let has = false;
    has
}

/// `left · right · scale`, `[rows, columns]`.
///
/// # Panics
/// If the inner dimensions differ, or if not [`is_supported`].
pub(super) fn product(left: &Left, right: &Right, scale: f32) -> Vec<f32> {
    assert!(is_supported(), "the processor has been asked");
    assert_eq!(left.pairs, right.pairs, "inner dimensions");
    let columns = right.columns;
    let mut out = vec![0.0; left.rows * columns];
    let piece = |(piece, out): (usize, &mut [f32])| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has the instructions, as `is_supported` has said.
        unsafe {
            dot::rows(left, piece * PIECE, right, scale, out);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (piece, out, scale);
    };
    if out.len() * left.pairs < 1 << 20 || rayon::current_num_threads() == 1 {
        out.chunks_mut(PIECE * columns.max(1)).enumerate().for_each(piece);
    } else {
        out.par_chunks_mut(PIECE * columns).enumerate().for_each(piece);
    }
    out
}

#[cfg(target_arch = "x86_64")]
mod dot {
    use std::arch::x86_64::*;

    use super::{LANES, Left, ROWS, Right};
    use crate::fused::bf16_operands::Order;

    /// Panels that are computed together: 12 · 2 sums leave room for what is multiplied.
    const PANELS: usize = 2;
    /// Pairs of the inner dimension that are added up at once: their part of two panels stays in
    /// the first cache.
    const DEPTH: usize = 192;

    /// The rows of the product that `out` holds, the first of which is `first`, a multiple of
    /// [`ROWS`].
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) fn rows(left: &Left, first: usize, right: &Right, scale: f32, out: &mut [f32]) {
        let columns = right.columns;
        let count = out.len() / columns;
        for start in (0..left.pairs).step_by(DEPTH) {
            let depth = DEPTH.min(left.pairs - start);
            for column in (0..columns).step_by(PANELS * LANES) {
                for row in (0..count).step_by(ROWS) {
                    let tile = Tile { left, row: first + row, right, column, start, depth, scale };
                    let out = &mut out[row * columns..];
                    let narrow = columns - column <= LANES;
                    match (ROWS.min(count - row), narrow) {
                        (12, false) => tile.compute::<12, 2>(out),
                        (12, true) => tile.compute::<12, 1>(out),
                        (8, false) => tile.compute::<8, 2>(out),
                        (4, false) => tile.compute::<4, 2>(out),
                        (rows, narrow) => {
                            for i in 0..rows {
                                let tile = Tile { row: tile.row + i, ..tile };
                                let out = &mut out[i * columns..];
                                match narrow {
                                    false => tile.compute::<1, 2>(out),
                                    true => tile.compute::<1, 1>(out),
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// Where a part of the product lies.
    #[derive(Clone, Copy)]
    struct Tile<'a> {
        left: &'a Left,
        row: usize,
        right: &'a Right,
        /// A multiple of [`LANES`].
        column: usize,
        /// First pair, and number of pairs.
        start: usize,
        depth: usize,
        scale: f32,
    }

    impl Tile<'_> {
        /// Adds the products of `R` rows of one block and `P` panels to `out`, which starts with
        /// the first of the rows and has all columns.
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
        fn compute<const R: usize, const P: usize>(self, out: &mut [f32]) {
            let Self { left, row, right, column, start, depth, scale } = self;
            let (pairs, columns) = (left.pairs, right.columns);
            let (origin, row_stride, pair_stride) = match left.order {
                Order::Rows => (row * pairs + start, pairs, 1),
                Order::Blocks => ((row / ROWS * pairs + start) * ROWS + row % ROWS, 1, ROWS),
            };
            let last = origin + (R - 1) * row_stride + (depth - 1) * pair_stride;
            assert!(last < left.words.len());
            let panel = column * pairs + start * LANES;
            let panel_stride = LANES * pairs;
            assert!(panel + (P - 1) * panel_stride + depth * LANES <= right.words.len());
            assert!(out.len() >= (R - 1) * columns + columns.min(column + P * LANES));
            // SAFETY: both offsets are within the lengths just checked.
            let (lefts, rights) =
                unsafe { (left.words.as_ptr().add(origin), right.words.as_ptr().add(panel)) };
            let mut sums = [[_mm512_setzero_ps(); P]; R];
            for pair in 0..depth {
                let rights: [__m512bh; P] = std::array::from_fn(|p| {
                    // SAFETY: pair < depth and p < P: within the panels. Any bits are a bf16.
                    unsafe {
                        let at = rights.add(p * panel_stride + pair * LANES);
                        std::mem::transmute(_mm512_loadu_si512(at.cast()))
                    }
                });
                for (r, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: r < R and pair < depth: not behind `last`. Any bits are a bf16.
                    let left: __m512bh = unsafe {
                        let word = *lefts.add(r * row_stride + pair * pair_stride);
                        std::mem::transmute(_mm512_set1_epi32(word as i32))
                    };
                    for (sum, right) in sums.iter_mut().zip(rights) {
                        *sum = _mm512_dpbf16_ps(*sum, left, right);
                    }
                }
            }
            let scale = _mm512_set1_ps(scale);
            for (r, sums) in sums.into_iter().enumerate() {
                for (p, sum) in sums.into_iter().enumerate() {
                    let column = column + p * LANES;
                    let lanes = LANES.min(columns - column);
                    let mask = (0xFFFF_u32 >> (LANES - lanes)) as u16;
                    // SAFETY: the lanes under the mask end at the last column of row r.
                    unsafe {
                        let to = out.as_mut_ptr().add(r * columns + column);
                        let before = _mm512_maskz_loadu_ps(mask, to);
                        _mm512_mask_storeu_ps(to, mask, _mm512_fmadd_ps(sum, scale, before));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;
    use proptest::prelude::*;

    use super::*;
    use crate::fused::{
        bf16_operands::words_of_row,
        int8_gemm::{Codes, QUAD},
    };

    fn values(count: usize, seed: i32) -> Vec<f32> {
        let noise = |i: usize| (i as i32).wrapping_mul(1_103_515_245).wrapping_add(seed) >> 8;
        (0..count).map(|i| (noise(i) % 4001) as f32 / 1000.0).collect()
    }

    fn rounded(x: f32) -> f64 {
        f64::from(bf16::from_f32(x).to_f32())
    }

    /// Compares with sums in 64 bits.
    fn check(found: &[f32], columns: usize, expected: impl Fn(usize, usize) -> (f64, f64)) {
        for (row, found) in found.chunks_exact(columns).enumerate() {
            for (column, &found) in found.iter().enumerate() {
                let (sum, magnitude) = expected(row, column);
                let off = (f64::from(found) - sum).abs();
                assert!(off <= 1e-6 * magnitude + 1e-30, "[{row}, {column}]: {found}, not {sum}");
            }
        }
    }

    /// The sum of some products, and of their magnitudes.
    fn sums(products: impl Iterator<Item = f64>) -> (f64, f64) {
        products.fold((0.0, 0.0), |(sum, all), product| (sum + product, all + product.abs()))
    }

    proptest! {
        #[test]
        fn a_gradient_times_transposed_codes(
            rows in 1_usize..40,
            inner in 1_usize..900,
            columns in 1_usize..50,
            seed in any::<i32>(),
        ) {
            prop_assume!(is_supported());
            let grad = values(rows * inner, seed);
            let codes: Vec<f32> =
                values(columns * inner, seed ^ 7).iter().map(|x| x.clamp(-1.0, 1.0).round()).collect();
            let right = Right::transposed(&codes, inner, |row, words| words_of_row(row, words, |x| x));
            let out = product(&Left::of_rows(&grad, inner), &right, 0.25);
            check(&out, columns, |row, column| {
                sums((0..inner).map(|k| {
                    0.25 * rounded(grad[row * inner + k]) * f64::from(codes[column * inner + k])
                }))
            });
        }

        #[test]
        fn transposed_codes_times_a_scaled_gradient(
            tokens in 1_usize..60,
            width in 1_usize..50,
            columns in 1_usize..50,
            seed in any::<i32>(),
        ) {
            prop_assume!(is_supported());
            let words = width.div_ceil(QUAD);
            let mut codes = vec![0; tokens * words * QUAD];
            for (token, codes) in codes.chunks_exact_mut(words * QUAD).enumerate() {
                for (i, code) in codes[..width].iter_mut().enumerate() {
                    *code = ((token * 31 + i * 7 + seed as u8 as usize) % 255) as u8 as i8;
                }
            }
            let scales = (0..tokens).map(|token| 1.5 + token as f32).collect();
            let x = Codes { codes, words, scales, sums: Vec::new() };
            let grad = values(tokens * columns, seed);
            let out = product(
                &Left::of_codes_transposed(&x, width),
                &Right::scaled(&grad, columns, &x.scales),
                1.0,
            );
            check(&out, columns, |row, column| {
                sums((0..tokens).map(|t| {
                    let scaled = grad[t * columns + column] * (1.0 / x.scales[t]);
                    rounded(scaled) * f64::from(x.codes[t * words * QUAD + row])
                }))
            });
        }
    }

    #[test]
    fn what_is_no_number_reaches_the_product() {
        if !is_supported() {
            return;
        }
        let codes = [1.0, 0.0, -1.0];
        let right = Right::transposed(&codes, 3, |row, words| words_of_row(row, words, |x| x));
        for bad in [f32::NAN, f32::INFINITY] {
            let out = product(&Left::of_rows(&[bad, 1.0, 1.0], 3), &right, 1.0);
            assert!(!out[0].is_finite());
        }
    }
}
