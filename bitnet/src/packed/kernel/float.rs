//! The loops over floats between the products.
//!
//! Each is written once, in lanes that a compiler makes vectors of, and compiled for each kind of
//! processor. The order of the additions is the same on all, and nothing is contracted, so that the
//! same model gives the same text everywhere.

use half::bf16;

/// Adding and subtracting it rounds what is below 2²² to an integer, half to even.
const ROUND: f32 = 12_582_912.0;

/// Partial sums of a reduction, and keys that stand together.
pub(super) const LANES: usize = 32;

/// A number that the loops read as one of 32 bits.
pub(super) trait Number: Copy {
    const ZERO: Self;

    fn float(self) -> f32;
}

impl Number for f32 {
    const ZERO: Self = 0.0;

    #[inline(always)]
    fn float(self) -> f32 {
        self
    }
}

impl Number for bf16 {
    const ZERO: Self = bf16::ZERO;

    #[inline(always)]
    fn float(self) -> f32 {
        // Not `to_f32`, which minds the kinds of what is no number.
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Number for i8 {
    const ZERO: Self = 0;

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
/// added up across lanes; the next 32 begin `stride` features on.
#[inline(always)]
pub(super) fn scores<T: Number>(
    query: &[f32],
    keys: &[[T; LANES]],
    stride: usize,
    out: &mut [f32],
) {
    for (keys, out) in keys.chunks(stride).zip(out.chunks_mut(LANES)) {
        let sums = weighted(query, |feature| keys[feature]);
        out.copy_from_slice(&sums[..out.len()]);
    }
}

/// `Σ weight · row`, in four sums that need not wait for each other.
#[inline(always)]
fn weighted<T: Number>(weights: &[f32], row: impl Fn(usize) -> [T; LANES]) -> [f32; LANES] {
    let mut sums = [[0.0f32; LANES]; 4];
    let (fours, rest) = weights.as_chunks::<4>();
    for (index, weights) in fours.iter().enumerate() {
        for s in 0..4 {
            add_to(&mut sums[s], weights[s], row(4 * index + s));
        }
    }
    for (index, weight) in rest.iter().enumerate() {
        add_to(&mut sums[index], *weight, row(4 * fours.len() + index));
    }
    std::array::from_fn(|i| (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]))
}

#[inline(always)]
fn add_to<T: Number>(sum: &mut [f32; LANES], weight: f32, row: [T; LANES]) {
    for i in 0..LANES {
        sum[i] += weight * row[i].float();
    }
}

/// `exp(x − max x)` of each, in place; gives their sum.
#[inline(always)]
pub(super) fn softmax(x: &mut [f32]) -> f32 {
    let highest = x.iter().fold(f32::NEG_INFINITY, |highest, &x| highest.max(x));
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    for x in chunks {
        for i in 0..LANES {
            x[i] = exp(x[i] - highest);
            lanes[i] += x[i];
        }
    }
    for (i, x) in rest.iter_mut().enumerate() {
        *x = exp(*x - highest);
        lanes[i] += *x;
    }
    total(lanes)
}

/// `Σ weight · value`. 32 values stand together, one after the other; the next begin `stride` numbers
/// on.
#[inline(always)]
pub(super) fn mix<T: Number>(weights: &[f32], values: &[T], stride: usize, out: &mut [f32]) {
    let dim = out.len();
    out.fill(0.0);
    for (weights, values) in weights.chunks(LANES).zip(values.chunks(stride)) {
        for (index, out) in out.chunks_mut(LANES).enumerate() {
            let value = |row: usize| &values[row * dim + index * LANES..];
            let sums = match out.len() {
                LANES => {
                    weighted(weights, |row| *value(row).first_chunk().unwrap_or(&[T::ZERO; LANES]))
                }
                width => weighted(weights, |row| {
                    let mut filled = [T::ZERO; LANES];
                    filled[..width].copy_from_slice(&value(row)[..width]);
                    filled
                }),
            };
            for (out, sum) in out.iter_mut().zip(sums) {
                *out += sum;
            }
        }
    }
}

/// `eˣ` to two units in the last place, without a branch: `2ⁿ · eʳ` with `|r| ≤ ln 2 / 2`, the
/// latter by its Taylor polynomial.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Beyond these the result leaves the normal numbers. What is no number stays none.
    let x = x.clamp(-87.0, 88.0);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut power = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power * r + coefficient;
    }
    // n is −126 to 127: an exponent of a normal number.
    power * f32::from_bits(((n as i32 + 127) as u32) << 23)
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
    dot(x, x)
}

/// `clamp(round(x · scale), −128, 127)`, half to even; gives the sum of the codes.
#[inline(always)]
pub(super) fn quantize(x: &[f32], scale: f32, codes: &mut [i8]) -> i32 {
    let mut sum = 0;
    for (code, x) in codes.iter_mut().zip(x) {
        // A product beyond ±127 by more than rounding cannot be, as `scale` is 127 / max|x|.
        let rounded = (x * scale + ROUND) - ROUND;
        let integer = rounded.clamp(-128.0, 127.0) as i32;
        *code = integer as i8;
        sum += integer;
    }
    sum
}
