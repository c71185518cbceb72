//! Products of 8-bit activations and ternary codes, in integers.
//!
//! The weight lies in panels of 16 output columns. Of each column, four codes that follow one
//! another along the inputs are a 32-bit word, so that one `vpdpbusd` multiplies and adds 64
//! codes: as unsigned bytes, which is why codes are stored raised by one, and the sum of the
//! activations is taken off at the end. A sum is below 2^31 for up to 2^22 inputs.

#![allow(unsafe_code, reason = "vector intrinsics over raw pointers")]

use std::{iter::repeat_n, mem::MaybeUninit};

use crate::cpu::{
    absmean::CodeRule,
    isa::Isa,
    parallel::par_map,
    uninit::{UninitChunk, zeros},
    vectorized,
};

/// Output columns of a panel.
const LANES: usize = 16;
/// Panels that are filled together: rows of a weight are read by whole lines of the cache, some at
/// a time.
const TOGETHER: usize = 4;
/// Inputs of a word.
pub(crate) const QUAD: usize = 4;
/// Most inputs whose products cannot overflow.
const MAX_INPUTS: usize = 1 << 22;

/// Activations as 8-bit codes, rows padded with zeros to whole words.
#[derive(Debug, Clone)]
pub(crate) struct Codes {
    /// `[rows, 4 · words]`
    pub(crate) codes: Vec<i8>,
    /// Codes of a word of each row.
    pub(crate) words: usize,
    /// Values are `codes / scale`; NaN where a row is not finite.
    pub(crate) scales: Vec<f32>,
    /// Sum of each row's codes.
    pub(crate) sums: Vec<i32>,
}

impl Codes {
    /// Zeros for so many rows of `width` codes.
    pub(crate) fn new(rows: usize, width: usize) -> Self {
        let words = width.div_ceil(QUAD);
        let codes = zeros(rows * words * QUAD);
        Self { codes, words, scales: vec![0.0; rows], sums: vec![0; rows] }
    }
}

/// Some rows of [`Codes`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub(crate) codes: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) sums: &'a [i32],
}

/// Ternary weights `[d_input, d_output]` side by side, in panels: `[panels, words, 16]`, each word
/// four codes raised by one. Columns beyond the last are zero.
#[derive(Debug)]
pub(crate) struct Panels {
    words: Vec<u32>,
    /// Words of a column.
    depth: usize,
    d_output: usize,
    /// What the codes of each panel are multiplied by.
    scales: Vec<f32>,
}

impl Panels {
    /// Lays out weights, all but the last of which have whole panels. Each is given by its values,
    /// `[d_input, outputs]`, its number of outputs, and its code rule.
    pub(crate) fn pack(d_input: usize, weights: &[(&[f32], usize, CodeRule)]) -> Self {
        let depth = d_input.div_ceil(QUAD);
        let panels_of = |width: usize| width.div_ceil(LANES);
        let panels: usize = weights.iter().map(|weight| panels_of(weight.1)).sum();
        let mut words = zeros(panels * depth * LANES);
        let mut scales = Vec::with_capacity(panels);
        let mut work = Vec::new();
        let mut rest = words.as_mut_slice();
        for &(values, width, rule) in weights {
            let (own, others) = rest.split_at_mut(panels_of(width) * depth * LANES);
            rest = others;
            scales.extend(repeat_n(rule.scale, panels_of(width)));
            for (i, words) in own.chunks_mut((TOGETHER * depth * LANES).max(1)).enumerate() {
                work.push((words, values, width, i * TOGETHER * LANES, rule));
            }
        }
        par_map(panels * depth * LANES, work, |_, (words, values, width, column, rule)| {
            fill_panels(values, width, column, words, rule);
        });
        let d_output = weights.iter().map(|weight| weight.1).sum();
        Self { words, depth, d_output, scales }
    }
}

vectorized! {
    /// Writes the raised codes of the weights of some outputs, from `column` on, to the
    /// words of their panels.
    fn fill_panels(
        weight: &[f32],
        d_output: usize,
        column: usize,
        words: &mut [u32],
        rule: CodeRule,
    ) {
        let depth = (weight.len() / d_output).div_ceil(QUAD);
        for (place, rows) in weight.chunks(QUAD * d_output).enumerate() {
            for (panel, words) in words.chunks_exact_mut(depth * LANES).enumerate() {
                let mut quads = [0; LANES];
                for (byte, row) in rows.chunks_exact(d_output).enumerate() {
                    let row = &row[column + panel * LANES..];
                    match row.first_chunk::<LANES>() {
                        Some(row) => {
                            for lane in 0..LANES {
                                quads[lane] |= rule.raised(row[lane]) << (8 * byte);
                            }
                        }
                        None => {
                            for (quad, &w) in quads.iter_mut().zip(row) {
                                *quad |= rule.raised(w) << (8 * byte);
                            }
                        }
                    }
                }
                words[place * LANES..][..LANES].copy_from_slice(&quads);
            }
        }
    }
}

/// Whether this processor has the instructions.
pub(crate) fn is_supported(d_input: usize) -> bool {
    Isa::best() == Isa::Avx512Vnni && d_input <= MAX_INPUTS
}

/// Writes `y = x · w`, plus `added` if there is such a matrix, with `x` and `w` dequantised: codes
/// multiplied in integers, exactly, then by the scale of both, once.
///
/// # Panics
/// If lengths do not fit, or if not [`is_supported`].
pub(crate) fn product(x: Lines<'_>, w: &Panels, added: Option<&[f32]>, y: UninitChunk<'_, f32>) {
    assert!(is_supported(w.depth * QUAD), "the processor has been asked");
    let rows = x.scales.len();
    assert!(x.codes.len() == rows * w.depth * QUAD && x.sums.len() == rows, "left operand");
    assert!(added.is_none_or(|added| added.len() == y.len()), "what is added");
    assert_eq!(y.len(), rows * w.d_output, "output");
    let write = |y: &mut [MaybeUninit<f32>]| {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the processor has the instructions, as `is_supported` has said.
        unsafe {
            vnni::rows(x, w, added, y);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = y;
    };
    // SAFETY: all rows and columns of the product are written.
    unsafe { y.written(write) };
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::{arch::x86_64::*, mem::MaybeUninit};

    use super::{LANES, Lines, Panels, QUAD};

    /// Rows and panels that are computed together: 6 · 4 sums fill the registers.
    const ROWS: usize = 6;
    const PANELS: usize = 4;

    /// Writes all rows and columns.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(crate) fn rows(
        x: Lines<'_>,
        w: &Panels,
        added: Option<&[f32]>,
        y: &mut [MaybeUninit<f32>],
    ) {
        let panels = w.scales.len();
        let count = x.scales.len();
        for panel in (0..panels).step_by(PANELS) {
            for row in (0..count).step_by(ROWS) {
                let tile = Tile { x, row, w, panel, added };
                let width = PANELS.min(panels - panel);
                match (ROWS.min(count - row), width) {
                    (6, 4) => tile.compute::<6, 4>(y),
                    (6, 3) => tile.compute::<6, 3>(y),
                    (6, 2) => tile.compute::<6, 2>(y),
                    (6, _) => tile.compute::<6, 1>(y),
                    (rows, 4) => (0..rows).for_each(|i| tile.below(i).compute::<1, 4>(y)),
                    (rows, width) => {
                        for i in 0..rows {
                            let tile = tile.below(i);
                            (0..width).for_each(|panel| tile.right(panel).compute::<1, 1>(y));
                        }
                    }
                }
            }
        }
    }

    /// Where a block of the product lies.
    #[derive(Clone, Copy)]
    struct Tile<'a> {
        x: Lines<'a>,
        row: usize,
        w: &'a Panels,
        panel: usize,
        added: Option<&'a [f32]>,
    }

    impl Tile<'_> {
        fn below(self, rows: usize) -> Self {
            Self { row: self.row + rows, ..self }
        }

        fn right(self, panels: usize) -> Self {
            Self { panel: self.panel + panels, ..self }
        }

        /// Computes `R` rows of `P` panels of `y`, the whole product.
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        fn compute<const R: usize, const P: usize>(self, y: &mut [MaybeUninit<f32>]) {
            let Self { x, row, w, panel, added } = self;
            let (depth, d_output) = (w.depth, w.d_output);
            let end = (row + R - 1) * d_output + d_output.min((panel + P) * LANES);
            assert!(x.codes.len() >= (row + R) * depth * QUAD);
            assert!(w.words.len() >= (panel + P) * depth * LANES);
            assert!(y.len() >= end && added.is_none_or(|added| added.len() >= end));
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
                let x_scale = x.scales[row + r].recip();
                for (p, sum) in sums.into_iter().enumerate() {
                    let column = (panel + p) * LANES;
                    let lanes = LANES.min(d_output - column);
                    let mask = (0xFFFF_u32 >> (LANES - lanes)) as u16;
                    let sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(sum, raised));
                    let scale = _mm512_set1_ps(w.scales[panel + p] * x_scale);
                    let mut values = _mm512_mul_ps(sum, scale);
                    let at = (row + r) * d_output + column;
                    // SAFETY: the lanes under the mask end at column d_output of that row.
                    unsafe {
                        if let Some(added) = added {
                            let added = _mm512_maskz_loadu_ps(mask, added.as_ptr().add(at));
                            values = _mm512_add_ps(values, added);
                        }
                        _mm512_mask_storeu_ps(y.as_mut_ptr().add(at).cast(), mask, values);
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
    use crate::cpu::uninit::Uninit;

    /// Codes and a weight from small seeds: cheap to shrink, and any shape.
    fn example(rows: usize, d_input: usize, d_output: usize, seed: i32) -> (Codes, Vec<f32>) {
        let noise = |i: usize| (i as i32).wrapping_mul(1_103_515_245).wrapping_add(seed) >> 8;
        let mut x = Codes::new(rows, d_input);
        for (row, codes) in x.codes.chunks_exact_mut(x.words * QUAD).enumerate() {
            for (input, code) in codes[..d_input].iter_mut().enumerate() {
                *code = (noise(row * d_input + input) % 128) as i8;
            }
            x.scales[row] = 1.0;
            x.sums[row] = codes.iter().map(|&code| i32::from(code)).sum();
        }
        let weight = (0..d_input * d_output).map(|i| (noise(i + 7) % 2) as f32).collect();
        (x, weight)
    }

    /// The second weight has no outputs, or other ones and another scale.
    fn check(x: &Codes, weights: [&[f32]; 2], d_outputs: [usize; 2]) {
        let d_input = weights[1].len() / d_outputs[1];
        if !is_supported(d_input) {
            return;
        }
        let rules = [1.5, 1.0].map(CodeRule::ternary);
        let panels = Panels::pack(d_input, &[0, 1].map(|i| (weights[i], d_outputs[i], rules[i])));
        let columns = d_outputs[0] + d_outputs[1];
        let lines = Lines { codes: &x.codes, scales: &x.scales, sums: &x.sums };
        let compute = |added: Option<&[f32]>| {
            let mut y = Uninit::new(x.scales.len() * columns);
            y.chunks(usize::MAX).for_each(|y| product(lines, &panels, added, y));
            y.finish()
        };
        let y = compute(None);
        let twice = compute(Some(&y));
        for (row, y) in y.chunks_exact(columns).enumerate() {
            for (column, &y) in y.iter().enumerate() {
                let second = column >= d_outputs[0];
                let i = usize::from(second);
                let column_of = if second { column - d_outputs[0] } else { column };
                let expected: i64 = weights[i]
                    .chunks_exact(d_outputs[i])
                    .zip(&x.codes[row * x.words * QUAD..])
                    .map(|(weight, &code)| weight[column_of] as i64 * i64::from(code))
                    .sum();
                assert_eq!(y, expected as f32 * rules[i].scale, "row {row}, column {column}");
                assert_eq!(twice[row * columns + column], 2.0 * y);
            }
        }
    }

    proptest! {
        #[test]
        fn the_product_is_that_of_the_integers(
            rows in 1_usize..70,
            d_input in 1_usize..90,
            panels in 0_usize..4,
            d_output in 1_usize..90,
            seed in any::<i32>(),
        ) {
            let (x, weight) = example(rows, d_input, d_output, seed);
            let (_, other) = example(1, d_input, panels * LANES, seed ^ 5);
            check(&x, [&other, &weight], [panels * LANES, d_output]);
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
                check(&x, [&[], &vec![weight; d_input]], [0, 1]);
            }
        }
    }
}
