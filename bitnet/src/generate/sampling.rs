use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::GenerateError;

/// How the next token is drawn. Filters apply in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits of tokens seen before (multiplies negative ones); 1 is off
    /// (CTRL, arXiv 1909.05858, §4.1).
    pub repetition_penalty: f64,
    /// Divides all logits; 0 takes the most probable token always (greedy).
    pub temperature: f64,
    /// Keeps the `k` most probable tokens; 0 is off.
    pub top_k: usize,
    /// Keeps the most probable tokens that together reach this probability; 1 is off
    /// (nucleus sampling, arXiv 1904.09751).
    pub top_p: f64,
    /// Keeps tokens of at least this share of the most probable one's probability; 0 is off
    /// (arXiv 2407.01082).
    pub min_p: f64,
    /// Seed of the random draws.
    pub seed: u64,
}

impl Default for Sampling {
    /// Temperature 1 without filters, seed 0.
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 0,
        }
    }
}

impl Sampling {
    /// The most probable token always.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    fn validate(&self) -> Result<(), GenerateError> {
        let check = |name, value: f64, fits: bool, expected| {
            if fits {
                Ok(())
            } else {
                Err(GenerateError::InvalidSampling { name, value, expected })
            }
        };
        let Self { repetition_penalty: penalty, temperature, top_p, min_p, .. } = *self;
        check("temperature", temperature, (0.0..1e6).contains(&temperature), "0 or above")?;
        check("top-p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1")?;
        check("min-p", min_p, (0.0..=1.0).contains(&min_p), "between 0 and 1")?;
        check("repetition-penalty", penalty, penalty > 0.0 && penalty < 1e6, "above 0")
    }
}

/// Draws tokens from logits, with a state of its own.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// # Errors
    /// [`GenerateError::InvalidSampling`] if a parameter is out of range.
    pub fn new(sampling: Sampling) -> Result<Self, GenerateError> {
        sampling.validate()?;
        Ok(Self { sampling, rng: ChaCha8Rng::seed_from_u64(sampling.seed) })
    }

    /// Draws a token.
    ///
    /// - `logits`: one a token of the vocabulary; used up.
    /// - `history`: the tokens so far, for the repetition penalty.
    ///
    /// # Errors
    /// [`GenerateError::NonFinite`] if a logit is infinite or not a number.
    pub fn sample(&mut self, mut logits: Vec<f32>, history: &[u32]) -> Result<u32, GenerateError> {
        if logits.is_empty() || logits.iter().any(|logit| !logit.is_finite()) {
            return Err(GenerateError::NonFinite);
        }
        let Sampling { repetition_penalty, temperature, top_k, top_p, min_p, .. } = self.sampling;
        penalize(&mut logits, history, repetition_penalty as f32);

        let logit = |token: u32| logits[token as usize];
        let tokens = 0..logits.len() as u32;
        if temperature == 0.0 {
            let best = tokens.reduce(|a, b| if logit(b) > logit(a) { b } else { a });
            return best.ok_or(GenerateError::NonFinite);
        }
        let mut order: Vec<u32> = tokens.collect();
        // Stable: equal logits keep the order of their ids, on every machine.
        order.sort_by(|&a, &b| logit(b).total_cmp(&logit(a)));
        if top_k > 0 {
            order.truncate(top_k);
        }
        let top = f64::from(logit(order[0]));
        let mut weights: Vec<f64> =
            order.iter().map(|&t| ((f64::from(logit(t)) - top) / temperature).exp()).collect();
        let nucleus = top_p * weights.iter().sum::<f64>();
        let mut mass = 0.0;
        let kept = weights
            .iter()
            .take_while(|&&weight| {
                let keep = mass == 0.0 || (mass < nucleus && weight >= min_p);
                mass += weight;
                keep
            })
            .count();
        weights.truncate(kept);

        let mut left = self.rng.random::<f64>() * weights.iter().sum::<f64>();
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        Ok(order[drawn.unwrap_or(kept - 1)])
    }
}

fn penalize(logits: &mut [f32], history: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut seen = vec![false; logits.len()];
    for &token in history {
        let token = token as usize;
        if let Some(logit) = logits.get_mut(token)
            && !std::mem::replace(&mut seen[token], true)
        {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::LN_2;

    use super::*;

    /// Tokens drawn in 4,000 attempts, by how often.
    fn counts(sampling: Sampling, logits: &[f32], history: &[u32]) -> Vec<usize> {
        let mut sampler = Sampler::new(sampling).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..4000 {
            counts[sampler.sample(logits.to_vec(), history).unwrap() as usize] += 1;
        }
        counts
    }

    /// The logarithms of 2, 8, 1 and 4: probabilities 2/15, 8/15, 1/15 and 4/15.
    const LOGITS: [f32; 4] = [LN_2, 3.0 * LN_2, 0.0, 2.0 * LN_2];

    #[test]
    fn draws_follow_the_probabilities() {
        let counts = counts(Sampling::default(), &LOGITS, &[]);
        for (count, share) in counts.into_iter().zip([2.0, 8.0, 1.0, 4.0]) {
            let expected = 4000.0 * share / 15.0;
            assert!((count as f64 - expected).abs() < 5.0 * f64::sqrt(expected), "{count} {share}");
        }
    }

    #[test]
    fn filters_keep_what_they_say() {
        let kept = |sampling| {
            counts(sampling, &LOGITS, &[]).iter().map(|&count| count > 0).collect::<Vec<_>>()
        };
        let default = Sampling::default;
        assert_eq!(kept(Sampling::greedy()), [false, true, false, false]);
        assert_eq!(kept(Sampling { top_k: 2, ..default() }), [false, true, false, true]);
        assert_eq!(kept(Sampling { top_p: 0.5, ..default() }), [false, true, false, false]);
        assert_eq!(kept(Sampling { top_p: 0.54, ..default() }), [false, true, false, true]);
        assert_eq!(kept(Sampling { min_p: 0.2, ..default() }), [true, true, false, true]);
        // min-p is taken after the temperature, as a share of the best.
        let hot = Sampling { min_p: 0.2, temperature: 4.0, ..default() };
        assert_eq!(kept(hot), [true, true, true, true]);
    }

    #[test]
    fn repeated_tokens_are_penalised_once() {
        let mut logits = vec![3.0, -3.0, 3.0];
        penalize(&mut logits, &[0, 1, 0, 99], 1.5);
        assert_eq!(logits, [2.0, -4.5, 3.0]);
    }

    #[test]
    fn bad_parameters_and_logits_are_errors() {
        for sampling in [
            Sampling { temperature: -1.0, ..Sampling::default() },
            Sampling { temperature: f64::NAN, ..Sampling::default() },
            Sampling { top_p: 0.0, ..Sampling::default() },
            Sampling { min_p: 1.1, ..Sampling::default() },
            Sampling { repetition_penalty: 0.0, ..Sampling::default() },
        ] {
            assert!(Sampler::new(sampling).is_err(), "{sampling:?}");
        }
        let mut sampler = Sampler::new(Sampling::default()).unwrap();
        for logits in [vec![], vec![0.0, f32::NAN], vec![f32::INFINITY]] {
            assert!(matches!(sampler.sample(logits, &[]), Err(GenerateError::NonFinite)));
        }
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| {
            let mut sampler = Sampler::new(Sampling { seed, ..Sampling::default() }).unwrap();
            (0..50).map(|_| sampler.sample(LOGITS.to_vec(), &[]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
