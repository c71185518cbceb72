//! `train twin`: the ternary model of a configuration, and what it is to be compared with.

use std::{io::Write, path::Path};

use anyhow::Context;
use bitnet::{
    quant::WeightQuant,
    storage::{Output, Product},
};
use command_line::{Align, table};
use serde::Serialize;

use crate::{
    config::Config,
    lr_find::Grid,
    output::markdown,
    series::{Planned, Series, begins, cannot_write, check_folder},
    training::{Options, Outcome},
};

/// A model of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The configuration with ternary weights.
    Ternary,
    /// The same in full precision.
    FullPrecision,
    /// The same with binary weights.
    Binary,
    /// Ternary, with twice the width, heads and feed-forward width.
    Double,
}

impl Variant {
    fn name(self) -> &'static str {
        match self {
            Self::Ternary => "ternary",
            Self::FullPrecision => "full-precision",
            Self::Binary => "binary",
            Self::Double => "double-ternary",
        }
    }

    /// The run of this variant.
    ///
    /// # Errors
    /// If the model's sizes are out of range.
    fn configure(self, base: &Config) -> anyhow::Result<Config> {
        let (lr, twin) = (base.train.lr, &base.twin);
        let lr = match self {
            Self::Ternary => lr,
            Self::FullPrecision => twin.full_precision_lr.unwrap_or(lr / 2.0),
            Self::Binary => twin.binary_lr.unwrap_or(lr),
            Self::Double => twin.double_lr.unwrap_or(lr),
        };
        let mut config = base.clone().with_lr(lr);
        let model = &mut config.model;
        model.quant = match self {
            Self::Ternary | Self::Double => WeightQuant::Ternary,
            Self::FullPrecision => WeightQuant::None,
            Self::Binary => WeightQuant::Binary,
        };
        if self == Self::FullPrecision {
            // It is what the others are compared with, and may be their teacher.
            config.distill.teacher = None;
        }
        let model = &mut config.model;
        if self == Self::Double {
            model.dim *= 2;
            model.heads *= 2;
            for size in [&mut model.kv_heads, &mut model.ff_dim] {
                *size = size.map(|size| size * 2);
            }
        }
        config.resolve().with_context(|| self.name())
    }
}

/// The rates that are tried for a model, as multiples of its own.
const TUNING: [f64; 4] = [0.25, 0.5, 1.0, 2.0];

/// What to compare.
pub struct Twin<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The models.
    pub variants: &'a [Variant],
    /// A run of each model for each of these.
    pub seeds: &'a [u64],
    /// Steps of the short runs that find each model's learning rate first, if they are to.
    pub tuning: Option<u64>,
}

impl Twin<'_> {
    /// Makes all runs go on to their ends in `out`, then prints the comparison and writes it to
    /// `twin.json` and `twin.md` there.
    ///
    /// # Errors
    /// If a run fails; the comparison is then of the others.
    pub fn run(&self, out: &Path, options: Options) -> anyhow::Result<()> {
        let configs = self.variants.iter().map(|variant| variant.configure(self.config));
        let mut configs: Vec<Config> = configs.collect::<anyhow::Result<_>>()?;
        // Before any folder is made.
        for &seed in self.seeds {
            Config { seed, ..self.config.clone() }.resolve()?;
        }
        check_folder(out)?;
        for (to, product) in Comparison::files(out) {
            to.check_file(&product).with_context(|| cannot_write(&to))?;
        }
        if let Some(steps) = self.tuning {
            for (variant, config) in self.variants.iter().zip(&mut configs) {
                let folder = out.join(format!("tune-{}", variant.name()));
                let rates = TUNING.map(|factor| factor * config.train.lr);
                let grid = Grid { config, rates: &rates, steps };
                let Some(rate) = grid.run(&folder, options)? else { return Ok(()) };
                *config = config.clone().with_lr(rate);
            }
        }
        let plan: Vec<Planned> = self
            .seeds
            .iter()
            .flat_map(|&seed| {
                self.variants.iter().zip(&configs).map(move |(variant, config)| Planned {
                    name: format!("{}-seed{seed}", variant.name()),
                    config: Config { seed, ..config.clone() },
                })
            })
            .collect();
        let series = Series::run(out, &plan, options);
        let models: Vec<Model> = self
            .variants
            .iter()
            .zip(&configs)
            .enumerate()
            .map(|(index, (variant, config))| {
                // The plan goes through the variants, then through the seeds.
                let outcomes = series.outcomes.iter().skip(index).step_by(configs.len());
                let runs = self.seeds.iter().zip(outcomes);
                let runs = runs.filter_map(|(&seed, outcome)| Some((seed, outcome.as_ref()?)));
                Model::new(variant.name(), config, &runs.collect::<Vec<_>>())
            })
            .collect();
        if models.iter().any(|model| !model.runs.is_empty()) {
            let others = self.config.checkpoint.dtype.name();
            let legend = format!(
                "bits/byte: of the last validation, mean over the seeds ± standard deviation\n\
                 packed bytes: 2 bits a quantised weight, an f32 a scale, {others} (checkpoint.dtype) \
                 for any other parameter"
            );
            let comparison = Comparison { legend, models };
            comparison.write(out)?;
            say!("\n{}\n{}", table(&comparison.rows(), Align::Left), comparison.legend);
        }
        series.check()
    }
}

/// `twin.json`.
#[derive(Debug, Serialize)]
struct Comparison {
    legend: String,
    models: Vec<Model>,
}

/// A row of the comparison.
#[derive(Debug, Serialize)]
struct Model {
    name: &'static str,
    learning_rate: f64,
    parameters: Option<u64>,
    packed_bytes: Option<u64>,
    bits_per_byte: Option<Spread>,
    tokens_per_second: Option<Spread>,
    runs: Vec<Run>,
}

/// A finished run.
#[derive(Debug, Serialize)]
struct Run {
    seed: u64,
    bits_per_byte: f64,
    /// Nats a token.
    loss: f64,
    tokens_per_second: f64,
}

/// Mean and standard deviation (of a sample: with one less than the number of values).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    mean: f64,
    deviation: Option<f64>,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        (!values.is_empty()).then_some(Self { mean, deviation })
    }

    fn show(self, decimals: usize) -> String {
        match self.deviation {
            Some(deviation) => format!("{:.decimals$} ± {deviation:.decimals$}", self.mean),
            None => format!("{:.decimals$}", self.mean),
        }
    }
}

impl Run {
    fn new(seed: u64, outcome: &Outcome) -> Self {
        Self {
            seed,
            bits_per_byte: outcome.validation_bits_per_byte,
            loss: outcome.validation_loss,
            tokens_per_second: outcome.tokens_per_second(),
        }
    }
}

impl Model {
    fn new(name: &'static str, config: &Config, outcomes: &[(u64, &Outcome)]) -> Self {
        let runs: Vec<Run> =
            outcomes.iter().map(|&(seed, outcome)| Run::new(seed, outcome)).collect();
        let spread =
            |value: fn(&Run) -> f64| Spread::of(&runs.iter().map(value).collect::<Vec<_>>());
        Self {
            name,
            learning_rate: config.train.lr,
            // The same for every seed.
            parameters: outcomes.first().map(|(_, outcome)| outcome.parameters),
            packed_bytes: outcomes.first().map(|(_, outcome)| outcome.packed_bytes),
            bits_per_byte: spread(|run| run.bits_per_byte),
            tokens_per_second: spread(|run| run.tokens_per_second),
            runs,
        }
    }
}

impl Comparison {
    /// Its files in a folder, and how they are known: by how they begin.
    fn files(out: &Path) -> [(Output, Product); 2] {
        let reason = "is no earlier comparison";
        [
            (
                Output::new(&out.join("twin.json")),
                Product { reason, is_one: |path| begins(path, "{\n  \"legend\": \"bits/byte") },
            ),
            (
                Output::new(&out.join("twin.md")),
                Product { reason, is_one: |path| begins(path, "| model | lr |") },
            ),
        ]
    }

    /// The table, its header first: a row for each model, with a column for each seed that ended.
    fn rows(&self) -> Vec<Vec<String>> {
        let mut seeds: Vec<u64> =
            self.models.iter().flat_map(|model| model.runs.iter().map(|run| run.seed)).collect();
        seeds.sort();
        seeds.dedup();
        let mut header =
            ["model", "lr", "parameters", "packed bytes", "bits/byte"].map(String::from).to_vec();
        header.extend(seeds.iter().map(|seed| format!("seed {seed}")));
        header.push("tokens/s".into());
        let rows = self.models.iter().map(|model| {
            let shown = |spread: Option<Spread>, decimals| {
                spread.map_or("-".into(), |spread| spread.show(decimals))
            };
            let count = |count: Option<u64>| count.map_or("-".into(), |count| count.to_string());
            let mut row = vec![
                model.name.into(),
                format!("{:e}", model.learning_rate),
                count(model.parameters),
                count(model.packed_bytes),
                shown(model.bits_per_byte, 4),
            ];
            row.extend(seeds.iter().map(|&seed| {
                let run = model.runs.iter().find(|run| run.seed == seed);
                run.map_or("-".into(), |run| format!("{:.4}", run.bits_per_byte))
            }));
            row.push(shown(model.tokens_per_second, 0));
            row
        });
        std::iter::once(header).chain(rows).collect()
    }

    fn write(&self, out: &Path) -> anyhow::Result<()> {
        let text = format!("{}\n{}\n", markdown(&self.rows()), self.legend);
        let contents = [serde_json::to_vec_pretty(self)?, text.into()];
        for ((to, product), content) in Self::files(out).into_iter().zip(contents) {
            to.write_file(&product, |file| file.write_all(&content))
                .with_context(|| cannot_write(&to))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_by_hand() {
        // Deviations −1, 0, 1: the root of 2 over 2.
        let spread = Spread::of(&[2.0, 3.0, 4.0]).unwrap();
        assert_eq!((spread.mean, spread.deviation), (3.0, Some(1.0)));
        assert_eq!(spread.show(2), "3.00 ± 1.00");
        assert_eq!(Spread::of(&[2.0]).unwrap().show(1), "2.0");
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn variants_differ_in_what_they_are_named_for() {
        let mut base = Config::default();
        base.train.second_lr = base.train.lr / 4.0;
        base.twin.binary_lr = Some(8e-3);
        let base = base.resolve().unwrap();
        let of = |variant: Variant| variant.configure(&base).unwrap();
        assert_eq!(of(Variant::Ternary), base);
        let full = of(Variant::FullPrecision);
        assert_eq!((full.train.lr, full.train.second_lr), (1e-3, 2.5e-4));
        assert_eq!(full.model.quant, WeightQuant::None);
        let binary = of(Variant::Binary);
        assert_eq!((binary.train.lr, binary.train.second_lr), (8e-3, 2e-3));
        let double = of(Variant::Double).model;
        assert_eq!((double.dim, double.heads, double.dim_head), (256, 8, Some(32)));
        assert_eq!((double.ff_dim, double.kv_heads), (Some(1024), Some(8)));
        let mut huge = base.clone();
        huge.model.dim = 1 << 40;
        let error = Variant::Double.configure(&huge).unwrap_err();
        assert!(format!("{error:#}").starts_with("double-ternary: model.dim is "), "{error:#}");
    }
}
