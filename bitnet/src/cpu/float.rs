//! Sums, maxima and exponentials of floats, as training and packed inference both compute them:
//! each in one order, whatever the processor, so that both come to the same bits.
//!
//! They are inlined into functions that are compiled for several generations of vector units.

/// Adding and subtracting it rounds what is below 2²² to an integer, half to even.
pub(crate) const ROUNDING_ADDEND: f32 = 12_582_912.0;

/// Floats of a vector of 512 bits. On processors with shorter vectors several of them are one.
pub(crate) const FLOATS_PER_VECTOR: usize = 16;

/// Lanes of a sum: additions in a fixed order that vector units can carry out, several at a time.
/// The element `i` is added to the lane `i % LANES_PER_SUM`, and then the halves of the lanes to
/// each other.
pub(crate) const LANES_PER_SUM: usize = 64;

/// The sum of `f` over the elements of slices, as far as the shortest of them goes.
#[inline(always)]
pub(crate) fn sum<const N: usize>(slices: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> f32 {
    let mut len = usize::MAX;
    for slice in slices {
        len = len.min(slice.len());
    }
    let mut lanes = [0.0; LANES_PER_SUM];
    let whole = len / LANES_PER_SUM * LANES_PER_SUM;
    for start in (0..whole).step_by(LANES_PER_SUM) {
        add_to::<N, LANES_PER_SUM>(&mut lanes, 0, slices, start, &f);
    }
    // The places of the lanes are written out: they would be in memory otherwise.
    macro_rules! rest {
        ($($first:literal)*) => {
            $(if whole + $first + FLOATS_PER_VECTOR <= len {
                add_to::<N, FLOATS_PER_VECTOR>(&mut lanes, $first, slices, whole + $first, &f);
            } else if whole + $first < len {
                let mut tail = [0.0; FLOATS_PER_VECTOR];
                for (i, to) in (whole + $first..len).zip(&mut tail) {
                    let mut elements = [0.0; N];
                    for n in 0..N {
                        elements[n] = slices[n][i];
                    }
                    *to = f(elements);
                }
                for lane in 0..FLOATS_PER_VECTOR {
                    lanes[$first + lane] += tail[lane];
                }
            })*
        };
    }
    rest!(0 16 32 48);
    total(lanes, |a, b| a + b)
}

/// Adds `f` of `L` elements from `start` on to as many lanes.
#[inline(always)]
fn add_to<const N: usize, const L: usize>(
    lanes: &mut [f32; LANES_PER_SUM],
    first: usize,
    slices: [&[f32]; N],
    start: usize,
    f: impl Fn([f32; N]) -> f32,
) {
    let mut parts = [&[0.0; L]; N];
    for n in 0..N {
        if let Some(part) = slices[n][start..].first_chunk() {
            parts[n] = part;
        }
    }
    for lane in 0..L {
        let mut elements = [0.0; N];
        for n in 0..N {
            elements[n] = parts[n][lane];
        }
        lanes[first + lane] += f(elements);
    }
}

/// The largest value that is a number; −∞ if there is none.
#[inline(always)]
pub(crate) fn maximum(values: &[f32]) -> f32 {
    largest(values, f32::NEG_INFINITY, |value| value)
}

/// The largest magnitude of those that are a number; zero if there is none.
#[inline(always)]
pub(crate) fn magnitude(values: &[f32]) -> f32 {
    largest(values, 0.0, f32::abs)
}

#[inline(always)]
fn largest(values: &[f32], lowest: f32, f: impl Fn(f32) -> f32) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [lowest; LANES_PER_SUM];
    let (whole, rest) = values.as_chunks::<LANES_PER_SUM>();
    for chunk in whole {
        for lane in 0..LANES_PER_SUM {
            lanes[lane] = larger(lanes[lane], f(chunk[lane]));
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, f(value));
    }
    total(lanes, larger)
}

/// Brings lanes together, half by half. In loops, as functions of the standard library would not be
/// compiled for the same vector units.
#[inline(always)]
pub(crate) fn total(mut lanes: [f32; LANES_PER_SUM], f: impl Fn(f32, f32) -> f32) -> f32 {
    macro_rules! halve {
        ($($half:literal)*) => {
            $(for lane in 0..$half {
                lanes[lane] = f(lanes[lane], lanes[lane + $half]);
            })*
        };
    }
    halve!(32 16 8 4 2 1);
    lanes[0]
}

/// ln 2 in two parts: the first has so few digits that its multiples by small integers are exact.
pub(crate) const LN2_HI: f32 = 0.693_359_4;
/// The rest of ln 2.
pub(crate) const LN2_LO: f32 = -2.121_944_4e-4;
/// The factor of the highest power in the series of `e^r`, `1 / 7!`.
pub(crate) const EXP_SERIES_FIRST: f32 = 1.0 / 5040.0;
/// The other factors of that series, from the sixth power down.
pub(crate) const EXP_SERIES: [f32; 7] =
    [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// `e^x` within 2 ulp for `x ≤ 88`, and 0 below −87: without calls, so that loops of it vectorise.
///
/// `x = n·ln 2 + r` with `|r| ≤ ln 2 / 2`; the series of `e^r` to the seventh power.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let within = x.clamp(-88.0, 88.0);
    let n = (within * std::f32::consts::LOG2_E + ROUNDING_ADDEND) - ROUNDING_ADDEND;
    let r = (within - n * LN2_HI) - n * LN2_LO;
    let mut p = EXP_SERIES_FIRST;
    for c in EXP_SERIES {
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
        for len in [0, 1, 15, 16, 17, 40, 63, 64, 65, 200] {
            let values: Vec<f32> = (0..len).map(|i| (i * 7 % 41) as f32 - 20.0).collect();
            // Whole numbers: exact in any order.
            assert_eq!(sum([&values], |[x]| x), values.iter().sum::<f32>());
            let products = values.iter().zip(&values[len / 2..]).map(|(a, b)| a * b).sum::<f32>();
            assert_eq!(sum([&values, &values[len / 2..]], |[a, b]| a * b), products);
            let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(maximum(&values), highest);
            let highest = values.iter().fold(0.0, |a: f32, b| a.max(b.abs()));
            assert_eq!(magnitude(&values), highest);
        }
        assert_eq!(maximum(&[f32::NAN, -3.0]), -3.0);
    }

    #[test]
    fn the_order_of_a_sum_is_that_of_its_lanes() {
        let values: Vec<f32> = (0..150).map(|i| 1.0 / (i as f32 + 0.7)).collect();
        for len in 0..150 {
            let mut lanes = [0.0_f32; LANES_PER_SUM];
            for (i, value) in values[..len].iter().enumerate() {
                lanes[i % LANES_PER_SUM] += value;
            }
            let mut half = LANES_PER_SUM / 2;
            while half > 0 {
                (0..half).for_each(|i| lanes[i] += lanes[i + half]);
                half /= 2;
            }
            assert_eq!(sum([&values[..len]], |[x]| x), lanes[0]);
        }
    }
}
