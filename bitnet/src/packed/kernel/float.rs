//! The loops over floats between the products.
//!
//! Each is written once, in lanes that a compiler makes vectors of, and compiled for each kind of
//! processor. The order of the additions and what is rounded between them are the same on all, so
//! that the same model gives the same text everywhere; and the same as in the
//! [`fused`](crate::fused) operations of training, as their AVX-512 code has it. A processor without
//! fused multiplication and addition computes those of attention by a function, slowly.

use half::bf16;

use crate::float::{ROUND, exp, maximum, sum};

/// Partial sums of a dot product, and keys that stand together.
pub(super) const LANES: usize = 32;

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

/// Products of a query with keys: [`scores`].
type Scores<T> = unsafe fn(&[f32], &[[T; LANES]], usize, &mut [f32]);

/// The functions, for one kind of processor.
#[derive(Debug)]
pub(super) struct Float {
    pub(super) dot: unsafe fn(&[f32], &[f32]) -> f32,
    pub(super) dot_bf16: unsafe fn(&[f32], &[bf16]) -> f32,
    pub(super) scores: Scores<f32>,
    pub(super) scores_int8: Scores<i8>,
    pub(super) softmax: unsafe fn(&mut [f32]) -> f32,
    pub(super) mix: unsafe fn(&[f32], &[f32], usize, &mut [f32]),
    pub(super) mix_int8: unsafe fn(&[f32], &[i8], usize, &mut [f32]),
    pub(super) max_abs: unsafe fn(&[f32]) -> f32,
    pub(super) sum_squares: unsafe fn(&[f32]) -> f32,
    pub(super) quantize: unsafe fn(&[f32], f32, &mut [i8]) -> i32,
}

/// Adds up lanes, in pairs.
#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut count = LANES;
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
    let mut lanes = [0.0; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i].float();
        }
    }
    for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] += a * b.float();
    }
    total(lanes)
}

/// `query · key` of each key. Of 32 keys one feature stands after the other, so that nothing is
/// added up across lanes; the next 32 begin `stride` features on. Two panels at a time, as a sum has
/// to wait for the one before.
#[inline(always)]
pub(super) fn scores<T: Number>(
    query: &[f32],
    keys: &[[T; LANES]],
    stride: usize,
    out: &mut [f32],
) {
    let mut panels = keys.chunks(stride).zip(out.chunks_mut(LANES));
    while let Some((keys, out)) = panels.next() {
        let mut sums = [[0.0; LANES]; 2];
        match panels.next() {
            Some((next_keys, next_out)) => {
                for (query, (keys, next)) in query.iter().zip(keys.iter().zip(next_keys)) {
                    add_to(&mut sums[0], *query, keys);
                    add_to(&mut sums[1], *query, next);
                }
                next_out.copy_from_slice(&sums[1][..next_out.len()]);
            }
            None => {
                for (query, keys) in query.iter().zip(keys) {
                    add_to(&mut sums[0], *query, keys);
                }
            }
        }
        out.copy_from_slice(&sums[0][..out.len()]);
    }
}

/// Adds a row times its weight, rounding once.
#[inline(always)]
fn add_to<T: Number, const N: usize>(sums: &mut [f32; N], weight: f32, row: &[T; N]) {
    for i in 0..N {
        sums[i] = weight.mul_add(row[i].float(), sums[i]);
    }
}

/// `exp(x − max x)` of each, in place; gives their sum.
#[inline(always)]
pub(super) fn softmax(x: &mut [f32]) -> f32 {
    let highest = maximum(x);
    for x in &mut *x {
        *x = exp(*x - highest);
    }
    sum(x.len(), |i| x[i])
}

/// `Σ weight · value`. 32 values stand together, one after the other; the next begin `stride` numbers
/// on.
#[inline(always)]
pub(super) fn mix<T: Number>(weights: &[f32], values: &[T], stride: usize, out: &mut [f32]) {
    let steps = [stride, out.len()];
    let mut first = 0;
    // As many sums at a time as there are registers for, as each has to wait for the one before.
    while first < out.len() {
        let (values, out) = (values.get(first..).unwrap_or_default(), &mut out[first..]);
        first += match out.len() {
            64.. => mix_columns::<T, 64>(weights, values, steps, out),
            16.. => mix_columns::<T, 16>(weights, values, steps, out),
            _ => mix_columns::<T, 1>(weights, values, steps, out),
        };
    }
}

/// The first `N` columns of [`mix`]; gives `N`. From one panel to the next, and from one value to the
/// next, there are as many numbers as the steps say.
#[inline(always)]
fn mix_columns<T: Number, const N: usize>(
    weights: &[f32],
    values: &[T],
    [stride, dim]: [usize; 2],
    out: &mut [f32],
) -> usize {
    let mut sums = [0.0; N];
    for (weights, values) in weights.chunks(LANES).zip(values.chunks(stride)) {
        for (weight, value) in weights.iter().zip(values.chunks(dim)) {
            add_to(&mut sums, *weight, value.first_chunk().expect("a whole value"));
        }
    }
    out[..N].copy_from_slice(&sums);
    N
}

/// `max|x|`; 0 of nothing, and not a number if any `x` is none.
#[inline(always)]
pub(super) fn max_abs(x: &[f32]) -> f32 {
    // The bits of magnitudes are ordered as they are, with those that are no numbers on top.
    let magnitude = |x: f32| x.abs().to_bits();
    let mut lanes = [0; LANES];
    let (x, rest) = x.as_chunks::<LANES>();
    for x in x {
        for i in 0..LANES {
            lanes[i] = magnitude(x[i]).max(lanes[i]);
        }
    }
    let rest = rest.iter().map(|&x| magnitude(x));
    f32::from_bits(lanes.into_iter().chain(rest).max().unwrap_or(0))
}

/// `Σ x²`.
#[inline(always)]
pub(super) fn sum_squares(x: &[f32]) -> f32 {
    sum(x.len(), |i| x[i] * x[i])
}

/// `clamp(round(x · scale), −128, 127)`, half to even; gives the sum of the codes.
#[inline(always)]
pub(super) fn quantize(x: &[f32], scale: f32, codes: &mut [i8]) -> i32 {
    for (code, x) in codes.iter_mut().zip(x) {
        // The last byte of the sum is the integer it was rounded to, and 0 where it is no number.
        *code = ((x * scale).clamp(-128.0, 127.0) + ROUND).to_bits() as i8;
    }
    codes.iter().map(|&code| i32::from(code)).sum()
}
