//! Sums, maxima and exponentials of floats, as training and packed inference both compute them: each
//! in one order, whatever the processor, so that both come to the same bits.
//!
//! They are inlined into functions that are compiled for several generations of vector units.

/// Adding and subtracting it rounds what is below 2²² to an integer, half to even.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// Lanes of a sum: additions in a fixed order that vector units can carry out.
const LANES: usize = 16;

/// `Σ f(i)` for `i` in `0 .. len`.
#[inline(always)]
pub(crate) fn sum(len: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    let rest: f32 = (whole..len).map(&f).sum();
    lanes.iter().sum::<f32>() + rest
}

/// The largest value that is a number; −∞ if there is none.
#[inline(always)]
pub(crate) fn maximum(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in values.chunks(LANES) {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// `e^x` within 2 ulp for `x ≤ 88`, and 0 below −87: without calls, so that loops of it vectorise.
///
/// `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2`; the series of `e^r` to the seventh power.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN2_HI: f32 = 0.693_359_4;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let within = x.clamp(-88.0, 88.0);
    let n = (within * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (within - n * LN2_HI) - n * LN2_LO;
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
    let value = if x < -87.0 { 0.0 } else { p * power };
    if x.is_nan() { x } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_that_of_the_standard_library_within_two_ulp() {
        for i in -870_000..=880_000 {
            let x = i as f32 * 1e-4;
            let (ours, theirs) = (exp(x), f64::from(x).exp() as f32);
            let ulps = i64::from(ours.to_bits()) - i64::from(theirs.to_bits());
            assert!(ulps.abs() <= 2, "exp({x}) = {ours:e}, not {theirs:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_and_maxima_are_those_of_all_values() {
        for len in [0, 1, 15, 16, 17, 40] {
            let values: Vec<f32> = (0..len).map(|i| (i * 7 % 41) as f32 - 20.0).collect();
            assert_eq!(sum(len, |i| values[i]), values.iter().sum::<f32>());
            let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(maximum(&values), highest);
        }
        assert_eq!(maximum(&[f32::NAN, -3.0]), -3.0);
    }
}
