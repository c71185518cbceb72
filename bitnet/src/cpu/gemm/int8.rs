//! The product of training and of packed inference: 8-bit codes of activations times ternary codes
//! of weights, in integers, exactly; then by the scales of both, once.
//!
//! The weight lies in panels of 32 outputs. Of each output, four codes that follow one another
//! along the inputs are four bytes, raised by one to be unsigned; the sum of the activations is
//! taken off at the end.

#![allow(unsafe_code, reason = "a buffer that is written here first")]

use std::mem::MaybeUninit;

use crate::cpu::{
    absmean::CodeRule,
    kernels::{
        Block, INPUTS_PER_INT8_BLOCK, Kernels, OUTPUTS_PER_PANEL, Rows, Sums, TOKENS_PER_TILE,
    },
    parallel::par_map,
    uninit::{UninitChunk, zeros},
    vectorized,
};

/// Panels that are filled together: rows of a weight are read by whole lines of the cache, some at
/// a time.
const PANELS_PER_TASK: usize = 2;

/// Bytes from one row of `width` codes to the next: whole lines of the cache, of an odd number, so
/// that rows that are read together do not share places in it.
pub(crate) fn stride(width: usize) -> usize {
    (width.div_ceil(64) | 1) * 64
}

/// Activations as 8-bit codes, rows filled up with zeros.
#[derive(Debug, Clone)]
pub(crate) struct Codes {
    /// `[rows, stride]`
    pub(crate) codes: Vec<i8>,
    pub(crate) stride: usize,
    /// Values are `codes / scale`; NaN where a row is not finite.
    pub(crate) scales: Vec<f32>,
    /// Sum of each row's codes.
    pub(crate) sums: Vec<i32>,
}

impl Codes {
    /// Zeros for so many rows of `width` codes.
    pub(crate) fn new(rows: usize, width: usize) -> Self {
        let stride = stride(width);
        let codes = zeros(rows * stride);
        Self { codes, stride, scales: vec![0.0; rows], sums: vec![0; rows] }
    }
}

/// Some rows of [`Codes`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodeRows<'a> {
    pub(crate) codes: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) sums: &'a [i32],
}

/// Ternary weights `[d_input, d_output]` side by side, in panels: `[panels, words]` of blocks. Each
/// weight begins with a panel of its own; what fills its last one is not written.
#[derive(Debug)]
pub(crate) struct TernaryPanels {
    blocks: Vec<Block>,
    /// Blocks of a panel.
    words: usize,
    d_output: usize,
    columns: Vec<PanelColumns>,
}

/// The outputs of a panel.
#[derive(Debug, Clone, Copy)]
struct PanelColumns {
    first: usize,
    count: usize,
    /// What their codes are multiplied by.
    scale: f32,
}

impl TernaryPanels {
    /// Lays out weights, each given by its values, `[d_input, outputs]`, its number of outputs, and
    /// its code rule.
    pub(crate) fn pack(d_input: usize, weights: &[(&[f32], usize, CodeRule)]) -> Self {
        let words = d_input.div_ceil(INPUTS_PER_INT8_BLOCK);
        let mut columns = Vec::new();
        let mut d_output = 0;
        for &(_, width, rule) in weights {
            columns.extend((0..width).step_by(OUTPUTS_PER_PANEL).map(|column| PanelColumns {
                first: d_output + column,
                count: OUTPUTS_PER_PANEL.min(width - column),
                scale: rule.scale,
            }));
            d_output += width;
        }
        let mut blocks = zeros(columns.len() * words);
        let mut work = Vec::new();
        let mut rest = blocks.as_mut_slice();
        for &(values, width, rule) in weights {
            let (own, others) = rest.split_at_mut(width.div_ceil(OUTPUTS_PER_PANEL) * words);
            rest = others;
            for (i, blocks) in own.chunks_mut((PANELS_PER_TASK * words).max(1)).enumerate() {
                work.push((blocks, values, width, i * PANELS_PER_TASK * OUTPUTS_PER_PANEL, rule));
            }
        }
        par_map(
            columns.len() * words * OUTPUTS_PER_PANEL,
            work,
            |_, (blocks, values, width, column, rule)| {
                fill_panels(values, width, column, blocks, rule);
            },
        );
        Self { blocks, words, d_output, columns }
    }
}

vectorized! {
    /// Writes the raised codes of the weights of some outputs, from `column` on, to the blocks of
    /// their panels.
    fn fill_panels(
        weight: &[f32],
        d_output: usize,
        column: usize,
        blocks: &mut [Block],
        rule: CodeRule,
    ) {
        let words = (weight.len() / d_output).div_ceil(INPUTS_PER_INT8_BLOCK);
        for (place, rows) in weight.chunks(INPUTS_PER_INT8_BLOCK * d_output).enumerate() {
            for (panel, blocks) in blocks.chunks_exact_mut(words).enumerate() {
                let mut quads = [0_u32; OUTPUTS_PER_PANEL];
                for (byte, row) in rows.chunks_exact(d_output).enumerate() {
                    let row = &row[column + panel * OUTPUTS_PER_PANEL..];
                    match row.first_chunk::<OUTPUTS_PER_PANEL>() {
                        Some(row) => {
                            for lane in 0..OUTPUTS_PER_PANEL {
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
                blocks[place] = bytes_of(quads);
            }
        }
    }

    /// The bytes of codes at two bits, in blocks of four inputs instead of sixteen.
    pub(crate) fn unpack(packed: &[Block], blocks: &mut [Block]) {
        for (packed, blocks) in packed.iter().zip(blocks.chunks_exact_mut(4)) {
            for (i, block) in blocks.iter_mut().enumerate() {
                for (to, from) in block.0.iter_mut().zip(packed.0) {
                    *to = from >> (2 * i) & 3;
                }
            }
        }
    }

    /// Scales the sums of some rows, `(sum − Σ code) · (scale · step)`, and adds to that. Of each
    /// row what a code of one is worth is given, and the sum of the codes.
    fn finish(
        sums: &[[i32; OUTPUTS_PER_PANEL]],
        of_rows: (&[f32], &[i32]),
        columns: PanelColumns,
        added: Option<&[f32]>,
        y: &mut [MaybeUninit<f32>],
        d_output: usize,
    ) {
        let of_rows = of_rows.0.iter().zip(of_rows.1);
        for (row, (sums, (step, &of_codes))) in sums.iter().zip(of_rows).enumerate() {
            let scale = columns.scale * step;
            let at = row * d_output + columns.first;
            let y = &mut y[at..at + columns.count];
            let added = added.map(|added| &added[at..at + columns.count]);
            let scaled = |sum: i32| sum.wrapping_sub(of_codes) as f32 * scale;
            let whole = added.map(<[f32]>::first_chunk::<OUTPUTS_PER_PANEL>);
            match (y.first_chunk_mut::<OUTPUTS_PER_PANEL>(), whole) {
                (Some(y), None) => {
                    for i in 0..OUTPUTS_PER_PANEL {
                        y[i].write(scaled(sums[i]));
                    }
                }
                (Some(y), Some(Some(added))) => {
                    for i in 0..OUTPUTS_PER_PANEL {
                        y[i].write(scaled(sums[i]) + added[i]);
                    }
                }
                _ => {
                    for (i, (y, sum)) in y.iter_mut().zip(sums).enumerate() {
                        let value = scaled(*sum);
                        y.write(added.map_or(value, |added| value + added[i]));
                    }
                }
            }
        }
    }

    /// Scales the sums of a row of one panel, `(sum − Σ code) · (scale · step)`, and adds them to
    /// `y`, as far as it goes.
    pub(crate) fn add_scaled(
        sums: &[i32; OUTPUTS_PER_PANEL],
        of_codes: i32,
        scales: &[f32; OUTPUTS_PER_PANEL],
        step: f32,
        y: &mut [f32],
    ) {
        let scaled = |i: usize| sums[i].wrapping_sub(of_codes) as f32 * (scales[i] * step);
        match y.first_chunk_mut::<OUTPUTS_PER_PANEL>() {
            Some(y) => {
                for (i, y) in y.iter_mut().enumerate() {
                    *y += scaled(i);
                }
            }
            None => {
                for (i, y) in y.iter_mut().enumerate() {
                    *y += scaled(i);
                }
            }
        }
    }
}

/// Words of four codes as a block.
#[inline(always)]
fn bytes_of(quads: [u32; OUTPUTS_PER_PANEL]) -> Block {
    Block(bytemuck::cast(quads.map(u32::to_le)))
}

/// Writes `y = x · w`, plus `added` if there is such a matrix, with `x` and `w` dequantised.
///
/// # Panics
/// If lengths do not fit.
pub(crate) fn product(
    x: CodeRows<'_>,
    w: &TernaryPanels,
    added: Option<&[f32]>,
    y: UninitChunk<'_, f32>,
) {
    let rows = x.scales.len();
    let stride = x.codes.len() / rows.max(1);
    assert!(x.codes.len() == rows * stride && x.sums.len() == rows, "left operand");
    assert!(added.is_none_or(|added| added.len() == y.len()), "what is added");
    assert_eq!(y.len(), rows * w.d_output, "output");
    let kernels = Kernels::best();
    let write = |y: &mut [MaybeUninit<f32>]| {
        let mut sums = Sums::<TOKENS_PER_TILE>::zero();
        let steps: Vec<f32> = x.scales.iter().map(|scale| scale.recip()).collect();
        for (panel, &columns) in w.columns.iter().enumerate() {
            let blocks = &w.blocks[panel * w.words..][..w.words];
            for first in (0..rows).step_by(TOKENS_PER_TILE) {
                let end = rows.min(first + TOKENS_PER_TILE);
                let sums = &mut sums.0[..end - first];
                let codes = Rows::new(&x.codes[first * stride..end * stride], stride);
                kernels.gemm(blocks, codes, false, sums);
                let of_rows = (&steps[first..end], &x.sums[first..end]);
                let added = added.map(|added| &added[first * w.d_output..end * w.d_output]);
                let y = &mut y[first * w.d_output..end * w.d_output];
                finish(sums, of_rows, columns, added, y, w.d_output);
            }
        }
    };
    // SAFETY: the columns of the panels are those of all weights, and so all of each row, and the
    // tiles are all rows.
    unsafe { y.written(write) };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::{
        isa::{Isa, limited},
        uninit::Uninit,
    };

    /// Codes and a weight from small seeds: cheap to shrink, and any shape.
    fn example(rows: usize, d_input: usize, d_output: usize, seed: i32) -> (Codes, Vec<f32>) {
        let noise = |i: usize| (i as i32).wrapping_mul(1_103_515_245).wrapping_add(seed) >> 8;
        let mut x = Codes::new(rows, d_input);
        for (row, codes) in x.codes.chunks_exact_mut(x.stride).enumerate() {
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
        let rules = [1.5, 1.0].map(CodeRule::ternary);
        let panels =
            TernaryPanels::pack(d_input, &[0, 1].map(|i| (weights[i], d_outputs[i], rules[i])));
        let columns = d_outputs[0] + d_outputs[1];
        let lines = CodeRows { codes: &x.codes, scales: &x.scales, sums: &x.sums };
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
                    .zip(&x.codes[row * x.stride..])
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
            other_output in 0_usize..70,
            d_output in 1_usize..90,
            seed in any::<i32>(),
        ) {
            let (x, weight) = example(rows, d_input, d_output, seed);
            let (_, other) = example(1, d_input, other_output, seed ^ 5);
            for isa in Isa::ALL {
                limited(isa, || check(&x, [&other, &weight], [other_output, d_output]));
            }
        }
    }

    #[test]
    fn the_product_of_extreme_codes_does_not_wrap() {
        for code in [-128, 127] {
            let d_input = 16_384;
            let x = Codes {
                codes: vec![code; d_input],
                stride: d_input,
                scales: vec![1.0],
                sums: vec![d_input as i32 * i32::from(code)],
            };
            for weight in [-1.0, 1.0] {
                for isa in Isa::ALL {
                    limited(isa, || check(&x, [&[], &vec![weight; d_input]], [0, 1]));
                }
            }
        }
    }
}
