//! Rotary position embedding of heads (RoFormer, arXiv 2104.09864), half-split: feature `i` is
//! paired with `i + d/2`.

use super::vectorized;

/// Elements that are rotated at once.
const FEATURES_PER_STEP: usize = 8;

/// By what angle each pair of features is rotated from one position to the next: `θ^(−2i/d)` for
/// the pair `i`, `[dim_head / 2]`. In f64, as at long contexts angles in f32 would lose whole
/// digits.
pub(crate) fn frequencies(dim_head: usize, theta: f64) -> Vec<f64> {
    let frequency = |pair| theta.powf(-((2 * pair) as f64) / dim_head as f64);
    (0..dim_head / 2).map(frequency).collect()
}

vectorized! {
    /// Rotates heads by the angles of their places, of which there are as many, or back where
    /// `sign` is −1.
    ///
    /// # Shapes
    /// - `x`: `[places, width]`; `y` has the same shape, cosines and sines at least
    pub(crate) fn rotate(x: &[f32], angles: [&[f32]; 2], width: usize, sign: f32, y: &mut [f32]) {
        let half = width / 2;
        let [cos, sin] = angles.map(|angles| angles.chunks_exact(width));
        let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width));
        for ((x, y), (cos, sin)) in rows.zip(cos.zip(sin)) {
            let (a, b) = x.split_at(half);
            let (to_a, to_b) = y.split_at_mut(half);
            let (cos, sin) = (cos.split_at(half), sin.split_at(half));
            rotated([a, b, cos.0, sin.0], -sign, to_a);
            rotated([b, a, cos.1, sin.1], sign, to_b);
        }
    }
}

/// Rotates a head in place, by the cosine and sine of each pair.
pub(crate) fn rotate_head(angles: &[(f32, f32)], head: &mut [f32]) {
    let (first, second) = head.split_at_mut(angles.len());
    for (&(cos, sin), (a, b)) in angles.iter().zip(first.iter_mut().zip(second)) {
        (*a, *b) = (element([*a, *b, cos, sin], -1.0), element([*b, *a, cos, sin], 1.0));
    }
}

/// `a·cos + sign·b·sin`
#[inline(always)]
fn element([a, b, cos, sin]: [f32; 4], sign: f32) -> f32 {
    a * cos + sign * b * sin
}

/// The same of some elements.
#[inline(always)]
fn rotated([a, b, cos, sin]: [&[f32]; 4], sign: f32, to: &mut [f32]) {
    // Heads are narrow: a loop of any length would do most of it element by element.
    let (whole, rest) = to.as_chunks_mut::<FEATURES_PER_STEP>();
    let parts = [a, b, cos, sin].map(|values| values.as_chunks::<FEATURES_PER_STEP>().0);
    let [a_parts, b_parts, cos_parts, sin_parts] = parts.map(|values| &values[..whole.len()]);
    for (i, to) in whole.iter_mut().enumerate() {
        for lane in 0..FEATURES_PER_STEP {
            let (a, b) = (a_parts[i][lane], b_parts[i][lane]);
            to[lane] = element([a, b, cos_parts[i][lane], sin_parts[i][lane]], sign);
        }
    }
    let first = whole.len() * FEATURES_PER_STEP;
    for (i, to) in (first..).zip(rest) {
        *to = element([a[i], b[i], cos[i], sin[i]], sign);
    }
}
