//! The loops over floats between the products.
//!
//! Each is written once, in lanes that a compiler makes vectors of, and compiled for each kind of
//! processor. The order of the additions and what is rounded between them are the same on all, so
//! that the same model gives the same text everywhere; and as in the operations of training, as
//! their AVX-512 code has it. A processor without fused multiplication and addition computes those
//! of attention by a function, slowly.

use half::bf16;

use crate::cpu::float::{exp, maximum, sum};

/// Partial sums of a dot product.
const LANES_PER_DOT: usize = 32;
/// Keys of attention that are multiplied together, and values that stand together.
pub(crate) const KEYS_PER_PANEL: usize = 32;
/// Most queries that attend together: keys and values are then read once for all of them.
pub(crate) const QUERIES_PER_PASS: usize = 4;

/// A number that the loops read as one of 32 bits.
pub(super) trait Number: Copy {
    fn float(self) -> f32;
}

impl Number for f32 {
    #[inline(always)]
    fn float(self) -> f32 {
        self
    }
}

impl Number for bf16 {
    #[inline(always)]
    fn float(self) -> f32 {
        // Not `to_f32`, which minds the kinds of what is no number.
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Number for i8 {
    #[inline(always)]
    fn float(self) -> f32 {
        f32::from(self)
    }
}

/// Products of queries with keys: [`scores`].
type Scores<T> = unsafe fn(&[&[f32]], &[[T; KEYS_PER_PANEL]], usize, &mut [f32]);
/// Sums of weighted values: [`weighted_sum`].
type WeightedSum<T> = unsafe fn(&[f32], &[T], usize, &mut [&mut [f32]]);

/// The functions, for one kind of processor.
#[derive(Debug)]
pub(super) struct Float {
    pub(super) dot: unsafe fn(&[f32], &[f32]) -> f32,
    pub(super) dot_bf16: unsafe fn(&[f32], &[bf16]) -> f32,
    pub(super) scores: Scores<f32>,
    pub(super) scores_int8: Scores<i8>,
    pub(super) softmax: unsafe fn(&mut [f32]) -> f32,
    pub(super) weighted_sum: WeightedSum<f32>,
    pub(super) weighted_sum_int8: WeightedSum<i8>,
}

/// Adds up lanes, in pairs.
#[inline(always)]
fn total(mut lanes: [f32; LANES_PER_DOT]) -> f32 {
    let mut count = LANES_PER_DOT;
    while count > 1 {
        count /= 2;
        for i in 0..count {
            lanes[i] += lanes[i + count];
        }
    }
    lanes[0]
}

/// `Σ a·b`.
#[inline(always)]
pub(super) fn dot<T: Number>(a: &[f32], b: &[T]) -> f32 {
    let mut lanes = [0.0; LANES_PER_DOT];
    let (a, a_rest) = a.as_chunks::<LANES_PER_DOT>();
    let (b, b_rest) = b.as_chunks::<LANES_PER_DOT>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES_PER_DOT {
            lanes[i] += a[i] * b[i].float();
        }
    }
    for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] += a * b.float();
    }
    total(lanes)
}

/// `query · key` of each key and some queries, at most [`QUERIES_PER_PASS`]: `[queries, keys]`,
/// with room for whole panels. Of 32 keys one feature stands after the other, so that nothing is
/// added up across lanes; the next 32 begin `stride` features on. As many of a panel's keys as
/// `PART` says are taken at a time, for there are only so many registers.
#[inline(always)]
pub(super) fn scores<T: Number, const PART: usize>(
    queries: &[&[f32]],
    keys: &[[T; KEYS_PER_PANEL]],
    stride: usize,
    out: &mut [f32],
) {
    // Of few queries more panels at a time, as a sum has to wait for the one before.
    match *queries {
        [a, b, c, d] => scores_of::<T, 4, 1, PART>([a, b, c, d], keys, stride, out),
        [a, b, c] => scores_of::<T, 3, 1, PART>([a, b, c], keys, stride, out),
        [a, b] => scores_of::<T, 2, 2, PART>([a, b], keys, stride, out),
        [a] => scores_of::<T, 1, 4, PART>([a], keys, stride, out),
        _ => unreachable!("as many queries as can be taken together"),
    }
}

/// `P` panels at a time.
#[inline(always)]
fn scores_of<T: Number, const Q: usize, const P: usize, const PART: usize>(
    queries: [&[f32]; Q],
    keys: &[[T; KEYS_PER_PANEL]],
    stride: usize,
    out: &mut [f32],
) {
    let width = out.len() / Q;
    let panels = width / KEYS_PER_PANEL;
    let (whole, all) = (panels / P * P, keys);
    for panel in (0..whole).step_by(P) {
        let keys = std::array::from_fn(|p| &all[(panel + p) * stride..]);
        scores_of_panels::<T, Q, P, PART>(queries, keys, &mut out[panel * KEYS_PER_PANEL..], width);
    }
    for panel in whole..panels {
        let keys = [&all[panel * stride..]];
        scores_of_panels::<T, Q, 1, PART>(queries, keys, &mut out[panel * KEYS_PER_PANEL..], width);
    }
}

#[inline(always)]
fn scores_of_panels<T: Number, const Q: usize, const P: usize, const PART: usize>(
    queries: [&[f32]; Q],
    keys: [&[[T; KEYS_PER_PANEL]]; P],
    out: &mut [f32],
    width: usize,
) {
    let dim = queries[0].len();
    let (queries, keys) = (queries.map(|query| &query[..dim]), keys.map(|keys| &keys[..dim]));
    for first in (0..KEYS_PER_PANEL).step_by(PART) {
        let mut sums = [[[0.0; PART]; P]; Q];
        for feature in 0..dim {
            for (p, keys) in keys.iter().enumerate() {
                let key = keys[feature][first..].first_chunk().expect("a part of a panel");
                for (sums, query) in sums.iter_mut().zip(queries) {
                    add_to(&mut sums[p], query[feature], key);
                }
            }
        }
        for (q, sums) in sums.iter().enumerate() {
            for (p, sums) in sums.iter().enumerate() {
                out[q * width + p * KEYS_PER_PANEL + first..][..PART].copy_from_slice(sums);
            }
        }
    }
}

/// Adds a row times its weight, rounding once.
#[inline(always)]
fn add_to<T: Number, const N: usize>(sums: &mut [f32; N], weight: f32, row: &[T; N]) {
    for i in 0..N {
        sums[i] = weight.mul_add(row[i].float(), sums[i]);
    }
}

/// `exp(x − max x)` of each, in place; returns their sum.
#[inline(always)]
pub(super) fn softmax(x: &mut [f32]) -> f32 {
    let highest = maximum(x);
    for x in &mut *x {
        *x = exp(*x - highest);
    }
    sum([x], |[x]| x)
}

/// `Σ weight · value` of some rows of weights, at most [`QUERIES_PER_PASS`]: `[rows, values]`. 32
/// values stand together, one after the other; the next begin `stride` numbers on. At most `WIDE`
/// columns are taken at a time, for there are only so many registers.
#[inline(always)]
pub(super) fn weighted_sum<T: Number, const WIDE: usize>(
    weights: &[f32],
    values: &[T],
    stride: usize,
    out: &mut [&mut [f32]],
) {
    match out {
        [a, b, c, d] => weighted_sum_of::<T, 4, WIDE>(weights, values, stride, [a, b, c, d]),
        [a, b, c] => weighted_sum_of::<T, 3, WIDE>(weights, values, stride, [a, b, c]),
        [a, b] => weighted_sum_of::<T, 2, WIDE>(weights, values, stride, [a, b]),
        // Of one row more columns, as a sum has to wait for the one before.
        [a] => weighted_sum_of::<T, 1, 64>(weights, values, stride, [a]),
        _ => unreachable!("as many rows as can be taken together"),
    }
}

#[inline(always)]
fn weighted_sum_of<T: Number, const Q: usize, const WIDE: usize>(
    weights: &[f32],
    values: &[T],
    stride: usize,
    mut out: [&mut [f32]; Q],
) {
    let dim = out[0].len();
    let mut first = 0;
    while first < dim {
        let values = values.get(first..).unwrap_or_default();
        let out = out.each_mut().map(|out| &mut out[first..]);
        first += match dim - first {
            left if left >= WIDE => {
                weighted_sum_of_columns::<T, Q, WIDE>(weights, values, [stride, dim], out)
            }
            16.. => weighted_sum_of_columns::<T, Q, 16>(weights, values, [stride, dim], out),
            _ => weighted_sum_of_columns::<T, Q, 1>(weights, values, [stride, dim], out),
        };
    }
}

/// The first `N` columns of [`weighted_sum`]; returns `N`. From one panel to the next, and from one
/// value to the next, there are as many numbers as the steps say.
#[inline(always)]
fn weighted_sum_of_columns<T: Number, const Q: usize, const N: usize>(
    weights: &[f32],
    values: &[T],
    [stride, dim]: [usize; 2],
    out: [&mut [f32]; Q],
) -> usize {
    let count = weights.len() / Q;
    let mut sums = [[0.0; N]; Q];
    for (start, values) in (0..count).step_by(KEYS_PER_PANEL).zip(values.chunks(stride)) {
        let len = KEYS_PER_PANEL.min(count - start);
        let weights: [&[f32]; Q] = std::array::from_fn(|q| &weights[q * count + start..][..len]);
        for (row, value) in (0..len).zip(values.chunks(dim)) {
            let value = value.first_chunk().expect("a whole value");
            for (sums, weights) in sums.iter_mut().zip(weights) {
                add_to(sums, weights[row], value);
            }
        }
    }
    for (out, sums) in out.into_iter().zip(&sums) {
        out[..N].copy_from_slice(sums);
    }
    N
}
