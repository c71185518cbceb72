//! 8-bit absmax codes of rows (b1.58, training tips, figure 5): `s = 127 / max|x|`, codes
//! `round(x · s)`, half to even.

use super::{
    float::{ROUNDING_ADDEND, magnitude, sum},
    vectorized,
};

/// Lower bound of `mean|w|` and `max|x|` before they are inverted (training tips, figure 5).
pub const SCALE_EPS: f64 = 1e-5;

/// The largest magnitude of a code.
pub(crate) const MAX_CODE: f32 = 127.0;

vectorized! {
    /// `range / max|x|`, the maximum kept at or above [`SCALE_EPS`]; NaN if a value is not finite.
    pub(crate) fn scale(x: &[f32], range: f32) -> f32 {
        let highest = magnitude(x).max(SCALE_EPS as f32);
        // Zero, unless something is infinite or not a number.
        let damage = sum([x], |[x]| x * 0.0);
        1.0 / highest * range + damage
    }

    /// Writes the codes of values, given their [`scale`] for [`MAX_CODE`]; returns the sum of the
    /// codes.
    pub(crate) fn encode(x: &[f32], scale: f32, codes: &mut [i8]) -> i32 {
        let mut sum = 0_i32;
        for (code, x) in codes.iter_mut().zip(x) {
            // Added to 1.5 · 2²³ a value is rounded to even, and its last byte is the code: at most
            // 127 by construction, or 0 for NaN.
            *code = (x * scale + ROUNDING_ADDEND).to_bits() as i8;
            sum += i32::from(*code);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::{Isa, limited};

    #[test]
    fn ties_go_to_even_on_every_processor() {
        let x = [0.5, 1.5, 2.5, -0.5, -1.5, 127.4, -127.0, 126.5];
        for isa in Isa::ALL {
            limited(isa, || {
                let mut codes = [0; 8];
                assert_eq!(encode(&x, 1.0, &mut codes), 128, "{isa}");
                assert_eq!(codes, [0, 2, 2, 0, -2, 127, -127, 126], "{isa}");
            });
        }
    }

    #[test]
    fn the_largest_magnitude_is_the_largest_code() {
        for isa in Isa::ALL {
            limited(isa, || {
                for highest in [1e-5_f32, 1.1e-5, 0.3, 1.0, 77.7, 3e38] {
                    let x = [highest / 3.0, -highest, highest];
                    let mut codes = [0; 3];
                    encode(&x, scale(&x, MAX_CODE), &mut codes);
                    assert_eq!(codes[1..], [-127, 127], "{isa} {highest}");
                }
            });
        }
    }

    #[test]
    fn what_is_not_finite_shows_in_the_scale() {
        for isa in Isa::ALL {
            limited(isa, || {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    for place in [0, 31, 32, 40] {
                        let mut x = [1.0; 41];
                        x[place] = bad;
                        assert!(scale(&x, MAX_CODE).is_nan(), "{isa} {bad} {place}");
                        let mut codes = [1; 41];
                        encode(&x, scale(&x, MAX_CODE), &mut codes);
                        assert_eq!(codes, [0; 41]);
                    }
                }
            });
        }
    }
}
