//! Codes −1, 0 and 1 of weights with one scale: absmean ternary (b1.58, equations 1–3), and binary
//! (training tips, figure 5).

use super::{absmax::SCALE_EPS, vectorized};

/// The rule by which a weight that has been measured becomes codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodeRule {
    /// What is subtracted first.
    center: f32,
    /// Factor after that.
    factor: f32,
    /// A weight whose magnitude is above it has the code 1 or −1: ½ where codes are rounded, half
    /// to even, and clamped; 0 where they are signs.
    threshold: f32,
    /// Codes become weights by this factor; NaN if a weight is not finite, as codes would not show
    /// it.
    pub(crate) scale: f32,
}

impl CodeRule {
    /// `clamp(round(w / mean|w|), −1, 1)`
    pub(crate) fn ternary(mean_magnitude: f32) -> Self {
        let lowest = SCALE_EPS as f32;
        let factor = 1.0 / if mean_magnitude < lowest { lowest } else { mean_magnitude };
        let damage = mean_magnitude * 0.0;
        Self { center: 0.0, factor, threshold: 0.5, scale: 1.0 / factor + damage }
    }

    /// `sign(w − mean w)`, where the sign of 0 is 0
    pub(crate) fn binary(mean_magnitude: f32, mean: f32) -> Self {
        let damage = mean_magnitude * 0.0;
        Self { center: mean, factor: 1.0, threshold: 0.0, scale: mean_magnitude + damage }
    }

    /// Whether the code of a weight is 1, and whether it is −1.
    #[inline(always)]
    fn sides(self, w: f32) -> (bool, bool) {
        let w = (w - self.center) * self.factor;
        (w > self.threshold, w < -self.threshold)
    }

    /// The code of a weight: −1, 0 or 1.
    #[inline(always)]
    pub(crate) fn code(self, w: f32) -> i8 {
        let (above, below) = self.sides(w);
        i8::from(above) - i8::from(below)
    }

    /// The code plus one: 0, 1 or 2.
    #[inline(always)]
    pub(crate) fn raised(self, w: f32) -> u32 {
        let (above, below) = self.sides(w);
        1 + u32::from(above) - u32::from(below)
    }
}

vectorized! {
    /// Writes the codes of weights.
    pub(crate) fn encode(rule: CodeRule, weights: &[f32], to: &mut [f32]) {
        for (to, &w) in to.iter_mut().zip(weights) {
            *to = rule.code(w).into();
        }
    }
}
