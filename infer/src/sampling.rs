//! How tokens are drawn: as the command line says, else as the model's files say.

use anyhow::Context;
use bitnet::{generate::Sampling, pretrained::GenerationDefaults};

/// How tokens are drawn. What is not given is as the model's `generation_config.json` says, if
/// there is one.
#[derive(Debug, Clone, clap::Args)]
pub struct SamplingArgs {
    /// Most tokens to generate [default: the model's max_new_tokens, or 200]
    #[arg(short = 'n', long, value_name = "N")]
    tokens: Option<usize>,
    /// Below 1 more predictable, above 1 less; 0 takes the most probable token always [default: the
    /// model's, or 0.8]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Draw from the K most probable tokens only; 0 is off [default: the model's, or 0]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Draw from the most probable tokens that together reach P only; 1 is off [default: the
    /// model's, or 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Draw from tokens at least P times as probable as the most probable one only; 0 is off
    /// [default: the model's, or 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,
    /// Above 1, makes tokens that have occurred less probable; 1 is off [default: the model's, or 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    repetition_penalty: Option<f64>,
    /// Seed of the random draws: the same seed gives the same text [default: a random one, which is
    /// printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SamplingArgs {
    /// Most tokens to generate.
    pub fn tokens(&self, model: &GenerationDefaults) -> usize {
        self.tokens.or(model.max_new_tokens).unwrap_or(200)
    }

    /// How tokens of a model are drawn.
    ///
    /// # Errors
    /// If the system has no random seed.
    pub fn sampling(&self, model: &GenerationDefaults) -> anyhow::Result<Sampling> {
        // Of 32 bits, as it is to be typed again.
        let random = || getrandom::u32().map(u64::from).context("no random seed; give --seed");
        let temperature = match model.do_sample {
            Some(false) => 0.0,
            Some(true) => model.temperature.unwrap_or(1.0),
            None => model.temperature.unwrap_or(0.8),
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
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sampling: SamplingArgs,
    }

    fn line(args: &[&str]) -> SamplingArgs {
        Line::try_parse_from([&["infer"], args].concat()).unwrap().sampling
    }

    fn sampling(args: &[&str], model: &GenerationDefaults) -> Sampling {
        line(args).sampling(model).unwrap()
    }

    #[test]
    fn seeds_are_random_unless_given() {
        let seeds = [(); 4].map(|()| sampling(&[], &GenerationDefaults::default()).seed);
        assert!(seeds.iter().any(|&seed| seed != seeds[0]), "{seeds:?}");
    }

    #[test]
    fn the_command_line_then_the_model_then_ours() {
        let ours = Sampling { temperature: 0.8, ..Sampling::default() };
        let nothing = GenerationDefaults::default();
        assert_eq!(sampling(&["--seed", "0"], &nothing), ours);
        assert_eq!(line(&[]).tokens(&nothing), 200);

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
        assert_eq!(sampling(&["--seed", "0"], &model), theirs);
        assert_eq!(line(&[]).tokens(&model), 4096);
        let given = ["--top-k", "0", "--temperature", "2", "--tokens", "3", "--seed", "7"];
        let mixed = Sampling { top_k: 0, temperature: 2.0, seed: 7, ..theirs };
        assert_eq!((sampling(&given, &model), line(&given).tokens(&model)), (mixed, 3));
    }

    #[test]
    fn not_to_sample_is_greedy() {
        let model = GenerationDefaults {
            do_sample: Some(false),
            temperature: Some(0.6),
            ..GenerationDefaults::default()
        };
        assert_eq!(sampling(&[], &model).temperature, 0.0);
        assert_eq!(sampling(&["--temperature", "0.5"], &model).temperature, 0.5);
        let model = GenerationDefaults { do_sample: Some(true), ..GenerationDefaults::default() };
        assert_eq!(sampling(&[], &model).temperature, 1.0);
    }
}
