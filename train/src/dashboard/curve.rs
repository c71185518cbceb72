/// Points of a curve above which neighbours are put together: more than a screen can tell apart.
const MOST: usize = 4096;

/// A value over the steps, thinned out where it is long: the older, the more.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve(Vec<(f64, f64)>);

impl Curve {
    /// Adds the value after a step, unless it is no number.
    pub fn push(&mut self, step: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.0.push((step as f64, value));
        if self.0.len() == MOST {
            let pairs = self.0.chunks(2).map(|pair| match pair {
                [(_, before), (step, value)] => (*step, (before + value) / 2.0),
                rest => rest[0],
            });
            self.0 = pairs.collect();
        }
    }

    /// Steps and values.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.0
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
        let points = curve.points();
        assert!(points.len() < MOST && points.len() > MOST / 4, "{}", points.len());
        assert_eq!(points.last(), Some(&(100_000.0, 100_000.0)));
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
        assert!(points[0].0 < 300.0, "{:?}", points[0]);
    }
}
