use anyhow::anyhow;
use bitnet::generate::{GenerateError, Sampler, Sampling};
use infer::SamplingOptions;

/// How tokens are sampled. What is not given is as the model's `generation_config.json` says, if
/// there is one.
#[derive(Debug, Clone, clap::Args)]
pub struct SamplingArgs {
    /// Most tokens to generate; where they and the prompt exceed the model's context, the older half
    /// of the text is dropped each time that is full [default: the model's max_new_tokens, or 200]
    #[arg(short = 'n', long, value_name = "N")]
    tokens: Option<usize>,
    /// Below 1 more predictable, above 1 less; 0 takes the most probable token always [default: the
    /// model's, or 0.8]
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Sample from the K most probable tokens only; 0 is off [default: the model's, or 0]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Sample from the most probable tokens that together reach P only; 1 is off [default: the
    /// model's, or 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Sample from tokens at least P times as probable as the most probable one only; 0 is off
    /// [default: the model's, or 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,
    /// Above 1, makes tokens that have occurred less probable; 1 is off [default: the model's, or 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    repetition_penalty: Option<f64>,
    /// Seed of the sampling: the same seed gives the same text [default: a random one, which is
    /// printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SamplingArgs {
    /// Checks the ranges of what was made of them and of the model's files.
    ///
    /// # Errors
    /// Names the option that is out of its range, or the model's file.
    pub fn check(&self, sampling: Sampling) -> anyhow::Result<()> {
        let given = [
            ("temperature", self.temperature),
            ("top-p", self.top_p),
            ("min-p", self.min_p),
            ("repetition-penalty", self.repetition_penalty),
        ];
        match Sampler::new(sampling) {
            Ok(_) => Ok(()),
            Err(error @ GenerateError::InvalidSampling { name, .. }) => {
                let is_given = given.iter().any(|(flag, value)| *flag == name && value.is_some());
                let from = if is_given { "--" } else { "generation_config.json of the model: " };
                Err(anyhow!("{from}{error}"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The library's form of them.
    pub fn options(&self) -> SamplingOptions {
        let &Self { tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed } = self;
        SamplingOptions {
            max_tokens: tokens,
            temperature,
            top_k,
            top_p,
            min_p,
            repetition_penalty,
            seed,
        }
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

    fn options(args: &[&str]) -> SamplingOptions {
        Line::try_parse_from([&["infer"], args].concat()).unwrap().sampling.options()
    }

    #[test]
    fn errors_say_where_a_parameter_is_from() {
        let args =
            |args: &[&str]| Line::try_parse_from([&["infer"], args].concat()).unwrap().sampling;
        let bad = Sampling { top_p: 2.0, ..Sampling::default() };
        let error = |given: &[&str]| args(given).check(bad).unwrap_err().to_string();
        assert!(error(&["--top-p", "2"]).starts_with("--top-p is 2, must be "));
        let file = "generation_config.json of the model: top-p is 2";
        assert!(error(&["--temperature", "1"]).starts_with(file));
        assert!(args(&[]).check(Sampling::default()).is_ok());
    }

    #[test]
    fn what_is_given_is_an_option() {
        assert_eq!(options(&[]), SamplingOptions::default());
        let all = "--tokens 3 --temperature 2 --top-k 5 --top-p 0.5 --min-p 0.1 \
                   --repetition-penalty 1.5 --seed 7";
        let given = SamplingOptions {
            max_tokens: Some(3),
            temperature: Some(2.0),
            top_k: Some(5),
            top_p: Some(0.5),
            min_p: Some(0.1),
            repetition_penalty: Some(1.5),
            seed: Some(7),
        };
        assert_eq!(options(&all.split_whitespace().collect::<Vec<_>>()), given);
    }
}
