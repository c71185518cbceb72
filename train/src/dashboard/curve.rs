/// Points of a curve at most: more than a screen can tell apart.
const MOST: usize = 4096;

/// A value over the steps. A long one has the means of so many neighbours as it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    points: Vec<(f64, f64)>,
    /// Values that are one point, and those that are in the last one.
    stride: u64,
    last: u64,
}

impl Default for Curve {
    fn default() -> Self {
        Self { points: Vec::new(), stride: 1, last: 1 }
    }
}

impl Curve {
    /// Adds the value after a step, unless it is no number.
    pub fn push(&mut self, step: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        if let (Some((at, mean)), true) = (self.points.last_mut(), self.last < self.stride) {
            self.last += 1;
            *at = step as f64;
            *mean += (value - *mean) / self.last as f64;
            return;
        }
        if self.points.len() == MOST {
            let pairs = self.points.chunks(2).map(|pair| match pair {
                [(_, before), (step, value)] => (*step, (before + value) / 2.0),
                rest => rest[0],
            });
            self.points = pairs.collect();
            self.stride *= 2;
        }
        self.points.push((step as f64, value));
        self.last = 1;
    }

    /// Steps and values.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_keep_their_shape() {
        let mut curve = Curve::default();
        for step in 1..=100_000 {
            curve.push(step, step as f64);
            curve.push(step, f64::NAN);
        }
        // Of 32 steps each.
        let points = curve.points();
        assert_eq!((points.len(), curve.stride), (3125, 32));
        for (index, (step, value)) in points.iter().enumerate() {
            let last = 32.0 * (index + 1) as f64;
            assert_eq!((*step, *value), (last, last - 15.5));
        }
    }
}
