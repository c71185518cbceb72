//! How tokens are drawn: as the caller says, else as the model's files say, else as here.

use bitnet::{generate::Sampling, pretrained::GenerationDefaults};
use thiserror::Error;

/// Most tokens of a text, if neither caller nor model says.
const MAX_TOKENS: usize = 200;
/// Temperature, if neither caller nor model says.
const TEMPERATURE: f64 = 0.8;

/// How tokens are drawn; what is `None` is as the model's `generation_config.json` says, if there
/// is one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SamplingOptions {
    /// Most tokens to generate; else 200.
    pub max_tokens: Option<usize>,
    /// [`Sampling::temperature`]; else 0.8.
    pub temperature: Option<f64>,
    /// [`Sampling::top_k`]; else off.
    pub top_k: Option<usize>,
    /// [`Sampling::top_p`]; else off.
    pub top_p: Option<f64>,
    /// [`Sampling::min_p`]; else off.
    pub min_p: Option<f64>,
    /// [`Sampling::repetition_penalty`]; else off.
    pub repetition_penalty: Option<f64>,
    /// [`Sampling::seed`]; else a random one.
    pub seed: Option<u64>,
}

/// Sampling options that cannot be completed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// The system has no random numbers.
    #[error("no random seed; give --seed")]
    NoSeed(#[source] getrandom::Error),
}

impl SamplingOptions {
    /// Most tokens to generate with a model.
    pub fn max_tokens(&self, model: &GenerationDefaults) -> usize {
        self.max_tokens.or(model.max_new_tokens).unwrap_or(MAX_TOKENS)
    }

    /// How tokens of a model are drawn. Ranges are checked when a generation begins.
    ///
    /// # Errors
    /// [`SamplingError::NoSeed`].
    pub fn sampling(&self, model: &GenerationDefaults) -> Result<Sampling, SamplingError> {
        // Of 32 bits, as it is to be typed again.
        let random = || getrandom::u32().map(u64::from).map_err(SamplingError::NoSeed);
        let temperature = match model.do_sample {
            Some(false) => 0.0,
            Some(true) => model.temperature.unwrap_or(1.0),
            None => model.temperature.unwrap_or(TEMPERATURE),
        };
        Ok(Sampling {
            repetition_penalty: self.repetition_penalty.or(model.repetition_penalty).unwrap_or(1.0),
            temperature: self.temperature.unwrap_or(temperature),
            top_k: self.top_k.or(model.top_k).unwrap_or(0),
            top_p: self.top_p.or(model.top_p).unwrap_or(1.0),
            min_p: self.min_p.or(model.min_p).unwrap_or(0.0),
            seed: self.seed.map_or_else(random, Ok)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDED: SamplingOptions = SamplingOptions {
        max_tokens: None,
        temperature: None,
        top_k: None,
        top_p: None,
        min_p: None,
        repetition_penalty: None,
        seed: Some(0),
    };

    #[test]
    fn seeds_are_random_unless_given() {
        let options = SamplingOptions::default();
        let seed = || options.sampling(&GenerationDefaults::default()).unwrap().seed;
        let seeds = [(); 4].map(|()| seed());
        assert!(seeds.iter().any(|&seed| seed != seeds[0]), "{seeds:?}");
    }

    #[test]
    fn the_caller_then_the_model_then_ours() {
        let ours = Sampling { temperature: 0.8, ..Sampling::default() };
        let nothing = GenerationDefaults::default();
        assert_eq!(SEEDED.sampling(&nothing).unwrap(), ours);
        assert_eq!(SEEDED.max_tokens(&nothing), 200);

        let model = GenerationDefaults {
            do_sample: Some(true),
            temperature: Some(0.6),
            top_k: Some(50),
            top_p: Some(0.9),
            min_p: Some(0.1),
            repetition_penalty: Some(1.1),
            max_new_tokens: Some(4096),
            ..nothing.clone()
        };
        let theirs = Sampling {
            temperature: 0.6,
            top_k: 50,
            top_p: 0.9,
            min_p: 0.1,
            repetition_penalty: 1.1,
            seed: 0,
        };
        assert_eq!(SEEDED.sampling(&model).unwrap(), theirs);
        assert_eq!(SEEDED.max_tokens(&model), 4096);
        let given = SamplingOptions {
            top_k: Some(0),
            temperature: Some(2.0),
            max_tokens: Some(3),
            seed: Some(7),
            ..SEEDED
        };
        let mixed = Sampling { top_k: 0, temperature: 2.0, seed: 7, ..theirs };
        assert_eq!((given.sampling(&model).unwrap(), given.max_tokens(&model)), (mixed, 3));
    }

    #[test]
    fn not_to_sample_is_greedy() {
        let model = GenerationDefaults {
            do_sample: Some(false),
            temperature: Some(0.6),
            ..GenerationDefaults::default()
        };
        assert_eq!(SEEDED.sampling(&model).unwrap().temperature, 0.0);
        let given = SamplingOptions { temperature: Some(0.5), ..SEEDED };
        assert_eq!(given.sampling(&model).unwrap().temperature, 0.5);
        let model = GenerationDefaults { do_sample: Some(true), ..GenerationDefaults::default() };
        assert_eq!(SEEDED.sampling(&model).unwrap().temperature, 1.0);
    }
}
