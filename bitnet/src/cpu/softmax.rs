//! Softmax over rows of scores in whole vectors, and its gradient. The forward pass rounds and adds
//! as [`float`](crate::cpu::float) does, and so as packed inference.

#![allow(unsafe_code, reason = "vector intrinsics")]

#[cfg(target_arch = "x86_64")]
use super::isa::{self, Vectors};
use super::{
    float::{FLOATS_PER_VECTOR, exp, maximum, sum},
    vectorized,
};

/// Replaces scores by their exponentials over that of the highest; returns that one, and the sum.
/// Those that are −∞ become zero.
///
/// # Panics
/// If their number is no multiple of [`FLOATS_PER_VECTOR`].
pub(crate) fn exponentials(scores: &mut [f32]) -> (f32, f32) {
    assert!(scores.len().is_multiple_of(FLOATS_PER_VECTOR), "whole vectors");
    #[cfg(target_arch = "x86_64")]
    if isa::vectors() == Vectors::Avx512 {
        // SAFETY: the processor has the instructions.
        return unsafe { avx512::exponentials(scores) };
    }
    portable_exponentials(scores)
}

/// Replaces scores by softmax weights, and the gradients of the weights by those of the scores.
/// Where a score is −∞, both become zero.
///
/// # Panics
/// If both are not as many, and a multiple of [`FLOATS_PER_VECTOR`].
pub(crate) fn softmax_slopes(scores: &mut [f32], slopes: &mut [f32], log_sum: f32) {
    assert!(
        scores.len().is_multiple_of(FLOATS_PER_VECTOR) && scores.len() == slopes.len(),
        "whole vectors"
    );
    #[cfg(target_arch = "x86_64")]
    if isa::vectors() == Vectors::Avx512 {
        // SAFETY: the processor has the instructions.
        return unsafe { avx512::softmax_slopes(scores, slopes, log_sum) };
    }
    portable_slopes(scores, slopes, log_sum);
}

vectorized! {
    fn portable_exponentials(scores: &mut [f32]) -> (f32, f32) {
        let highest = maximum(scores);
        for score in &mut *scores {
            *score = exp(*score - highest);
        }
        (highest, sum([scores], |[x]| x))
    }
}

vectorized! {
    fn portable_slopes(scores: &mut [f32], slopes: &mut [f32], log_sum: f32) {
        for score in &mut *scores {
            *score = exp(*score - log_sum);
        }
        let mean = sum([scores, slopes], |[weight, slope]| weight * slope);
        for (slope, weight) in slopes.iter_mut().zip(scores) {
            *slope = *weight * (*slope - mean);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use crate::cpu::float::{
        EXP_SERIES, EXP_SERIES_FIRST, FLOATS_PER_VECTOR, LANES_PER_SUM, LN2_HI, LN2_LO, total,
    };

    /// As `float::exp`, to the bit.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn exp(x: __m512) -> __m512 {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        // What is no number is the second operand, and so the result.
        let within = _mm512_min_ps(_mm512_set1_ps(88.0), _mm512_max_ps(_mm512_set1_ps(-88.0), x));
        let n = _mm512_mul_ps(within, _mm512_set1_ps(std::f32::consts::LOG2_E));
        let n = _mm512_roundscale_ps::<NEAREST>(n);
        let r = _mm512_sub_ps(within, _mm512_mul_ps(n, _mm512_set1_ps(LN2_HI)));
        let r = _mm512_sub_ps(r, _mm512_mul_ps(n, _mm512_set1_ps(LN2_LO)));
        let mut p = _mm512_set1_ps(EXP_SERIES_FIRST);
        for c in EXP_SERIES {
            p = _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(c));
        }
        let normal = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(-87.0));
        _mm512_maskz_scalef_ps(normal, p, n)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load(values: &[f32; FLOATS_PER_VECTOR]) -> __m512 {
        // SAFETY: the vector is 16 values, all of which the array has.
        unsafe { _mm512_loadu_ps(values.as_ptr()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn store(values: &mut [f32; FLOATS_PER_VECTOR], x: __m512) {
        // SAFETY: the vector is 16 values, for all of which the array has room.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), x) }
    }

    #[target_feature(enable = "avx512f")]
    pub(crate) fn exponentials(scores: &mut [f32]) -> (f32, f32) {
        let (vectors, _) = scores.as_chunks_mut::<FLOATS_PER_VECTOR>();
        let mut highest = _mm512_set1_ps(f32::NEG_INFINITY);
        for vector in &*vectors {
            // What is no number is passed over: the second operand is the result.
            highest = _mm512_max_ps(load(vector), highest);
        }
        let highest = _mm512_reduce_max_ps(highest);
        let mut sums = [_mm512_setzero_ps(); LANES_PER_SUM / FLOATS_PER_VECTOR];
        for vectors in vectors.chunks_mut(LANES_PER_SUM / FLOATS_PER_VECTOR) {
            for (vector, sum) in vectors.iter_mut().zip(&mut sums) {
                let x = exp(_mm512_sub_ps(load(vector), _mm512_set1_ps(highest)));
                *sum = _mm512_add_ps(*sum, x);
                store(vector, x);
            }
        }
        let mut lanes = [0.0; LANES_PER_SUM];
        let (vectors, _) = lanes.as_chunks_mut::<FLOATS_PER_VECTOR>();
        vectors.iter_mut().zip(sums).for_each(|(lanes, sum)| store(lanes, sum));
        (highest, total(lanes, |a, b| a + b))
    }

    #[target_feature(enable = "avx512f")]
    pub(crate) fn softmax_slopes(scores: &mut [f32], slopes: &mut [f32], log_sum: f32) {
        let (scores, _) = scores.as_chunks_mut::<FLOATS_PER_VECTOR>();
        let (slopes, _) = slopes.as_chunks_mut::<FLOATS_PER_VECTOR>();
        let mut mean = _mm512_setzero_ps();
        for (score, slope) in scores.iter_mut().zip(&*slopes) {
            let weight = exp(_mm512_sub_ps(load(score), _mm512_set1_ps(log_sum)));
            mean = _mm512_fmadd_ps(weight, load(slope), mean);
            store(score, weight);
        }
        let mean = _mm512_set1_ps(_mm512_reduce_add_ps(mean));
        for (weight, slope) in scores.iter().zip(slopes) {
            let x = _mm512_mul_ps(load(weight), _mm512_sub_ps(load(slope), mean));
            store(slope, x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_slopes_are_those_of_the_definition() {
        for seen in 1_usize..100 {
            let len = seen.next_multiple_of(FLOATS_PER_VECTOR);
            let score = |i: usize| ((i * 7919) % 23) as f32 / 3.0 - 4.0;
            let slope = |i: usize| ((i * 104_729) % 19) as f32 / 5.0 - 1.0;
            let scores = |i: usize| if i < seen { score(i) } else { f32::NEG_INFINITY };
            let total: f64 = (0..seen).map(|i| f64::from(score(i)).exp()).sum();
            let weight = |i: usize| f64::from(scores(i)).exp() / total;
            let mean: f64 = (0..seen).map(|i| weight(i) * f64::from(slope(i))).sum();

            let mut found: Vec<f32> = (0..len).map(scores).collect();
            let (highest, sum) = exponentials(&mut found);
            let log_sum = highest + sum.ln();
            assert!((f64::from(log_sum) - total.ln()).abs() < 1e-6);
            assert!((0..len).all(|i| (f64::from(found[i] / sum) - weight(i)).abs() < 1e-6));

            let mut found: Vec<f32> = (0..len).map(scores).collect();
            let mut slopes: Vec<f32> = (0..len).map(slope).collect();
            softmax_slopes(&mut found, &mut slopes, log_sum);
            for i in 0..len {
                assert!((f64::from(found[i]) - weight(i)).abs() < 1e-6);
                let expected = weight(i) * (f64::from(slope(i)) - mean);
                assert!((f64::from(slopes[i]) - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_way_of_the_processor_is_the_portable_one_to_the_bit() {
        for len in (FLOATS_PER_VECTOR..400).step_by(FLOATS_PER_VECTOR) {
            let scores: Vec<f32> = (0..len).map(|i| ((i * 7919) % 1013) as f32 / 9.0).collect();
            let (mut found, mut expected) = (scores.clone(), scores);
            expected[len - 5..].fill(f32::NEG_INFINITY);
            found[len - 5..].fill(f32::NEG_INFINITY);
            assert_eq!(exponentials(&mut found), portable_exponentials(&mut expected));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_no_number_stays_visible() {
        let mut scores = [0.0; FLOATS_PER_VECTOR];
        scores[3] = f32::NAN;
        assert!(exponentials(&mut scores).1.is_nan());
        scores.fill(f32::NEG_INFINITY);
        scores[0] = 1.0;
        let (highest, total) = exponentials(&mut scores);
        assert_eq!((highest, total, scores[1]), (1.0, 1.0, 0.0));
    }
}
