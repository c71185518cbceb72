use std::cmp::Ordering;

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
        check(
            "temperature",
            temperature,
            (0.0..1e6).contains(&temperature),
            "0 or above, and below 1e6",
        )?;
        check("top-p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1")?;
        check("min-p", min_p, (0.0..=1.0).contains(&min_p), "between 0 and 1")?;
        check(
            "repetition-penalty",
            penalty,
            (1e-3..1e6).contains(&penalty),
            "0.001 or above, and below 1e6",
        )
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
    /// - `logits`: one per token of the vocabulary; used up.
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
        let mut tokens: Vec<Candidate> =
            tokens.map(|id| Candidate { id, logit: logit(id) }).collect();
        if (1..tokens.len()).contains(&top_k) {
            tokens.select_nth_unstable_by(top_k - 1, Candidate::by_rank);
            tokens.truncate(top_k);
            // The order of the sums below must not depend on how the selection works.
            tokens.sort_unstable_by_key(|token| token.id);
        }
        let top = tokens.iter().map(|token| token.logit).fold(f32::NEG_INFINITY, f32::max);
        // Relative to the best, which no filter takes away.
        let weight =
            |token: &Candidate| ((f64::from(token.logit) - f64::from(top)) / temperature).exp();
        let mut weights: Vec<f64> = tokens.iter().map(weight).collect();
        if min_p > 0.0 || top_p < 1.0 {
            let nucleus = top_p * weights.iter().sum::<f64>();
            tokens.retain(|token| weight(token) >= min_p);
            if top_p < 1.0 {
                let len = nucleus_len(&mut tokens, nucleus, weight);
                tokens.truncate(len);
            }
            weights = tokens.iter().map(weight).collect();
        }

        let mut left = self.rng.random::<f64>() * weights.iter().sum::<f64>();
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        Ok(tokens[drawn.unwrap_or(tokens.len() - 1)].id)
    }
}

/// A token that may be drawn.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    logit: f32,
}

impl Candidate {
    /// The most probable first; of equal ones, that of the lower number.
    fn by_rank(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.id.cmp(&other.id))
    }
}

/// Number of the most probable tokens that reach `mass` together, which it brings to the front. A
/// vocabulary is seldom sorted far: the first tokens tend to have most of the mass.
fn nucleus_len(tokens: &mut [Candidate], mass: f64, weight: impl Fn(&Candidate) -> f64) -> usize {
    let (mut sorted, mut reached) = (0, 0.0);
    while sorted < tokens.len() {
        let end = tokens.len().min(4 * sorted.max(16));
        let rest = &mut tokens[sorted..];
        if end - sorted < rest.len() {
            rest.select_nth_unstable_by(end - sorted - 1, Candidate::by_rank);
        }
        let next = &mut rest[..end - sorted];
        next.sort_unstable_by(Candidate::by_rank);
        for (index, token) in next.iter().enumerate() {
            reached += weight(token);
            if reached >= mass {
                return sorted + index + 1;
            }
        }
        sorted = end;
    }
    sorted
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
            let penalized = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            *logit = penalized.clamp(f32::MIN, f32::MAX);
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

    #[test]
    fn penalties_leave_numbers() {
        let with = |repetition_penalty| Sampling { repetition_penalty, ..Sampling::default() };
        for penalty in [0.0, -1.0, 1e-60, f64::NAN, f64::INFINITY] {
            assert!(Sampler::new(with(penalty)).is_err(), "{penalty}");
        }
        let mut logits = [f32::MAX, f32::MIN, 1.0];
        penalize(&mut logits, &[0, 1, 2], 0.5);
        assert_eq!(logits, [f32::MAX, f32::MIN / 2.0, 2.0]);
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

    /// What a filter keeps, by the definition: sort all tokens, then cut.
    fn kept_by_sorting(sampling: Sampling, logits: &[f32]) -> Vec<u32> {
        let Sampling { temperature, top_k, top_p, min_p, .. } = sampling;
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
        if top_k > 0 {
            order.truncate(top_k);
        }
        let top = logits[order[0] as usize];
        let weight = |id: u32| (f64::from(logits[id as usize] - top) / temperature).exp();
        let nucleus = top_p * order.iter().map(|&id| weight(id)).sum::<f64>();
        let mut mass = 0.0;
        let inside = |&id: &u32| {
            let inside = mass < nucleus && weight(id) >= min_p;
            mass += weight(id);
            inside
        };
        let mut kept: Vec<u32> = order.into_iter().take_while(inside).collect();
        kept.sort_unstable();
        kept
    }

    #[test]
    fn selecting_keeps_what_sorting_does() {
        // Eighths, of which many are equal: all sums are exact.
        let logits: Vec<f32> = (0..300).map(|i| LN_2 * (i * 7919 % 13) as f32).collect();
        for (top_k, top_p, min_p) in [
            (1, 1.0, 0.0),
            (100, 1.0, 0.0),
            (300, 1.0, 0.0),
            (999, 0.3, 0.0),
            (0, 0.2, 0.0),
            (0, 0.93, 0.0),
            (0, 0.93, 0.1),
            (0, 1.0, 0.3),
            (30, 0.5, 0.9),
        ] {
            let sampling = Sampling { top_k, top_p, min_p, ..Sampling::default() };
            // Enough draws for each of 30 equal tokens to come with all but certainty.
            let counts = counts(sampling, &logits, &[]);
            let drawn = (0..300).filter(|&id| counts[id as usize] > 0);
            let expected = kept_by_sorting(sampling, &logits);
            let rare = expected.len() > 30;
            let drawn: Vec<u32> = drawn.collect();
            assert!(drawn.iter().all(|id| expected.contains(id)), "{sampling:?}");
            assert!(rare || drawn == expected, "{sampling:?} {drawn:?} {expected:?}");
        }
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
