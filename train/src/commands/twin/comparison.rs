use std::{io::Write, path::Path};

use anyhow::Context;
use bitnet::storage::{Output, Product};
use command_line::thousands;
use serde::Serialize;

use crate::{
    commands::series::{begins, cannot_write},
    config::Config,
    output::markdown,
    training::Outcome,
};

/// `twin.json`.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// What its columns are.
    pub legend: String,
    /// The rows.
    pub models: Vec<Model>,
}

/// A row of the comparison.
#[derive(Debug, Serialize)]
pub struct Model {
    name: &'static str,
    learning_rate: f64,
    parameters: Option<u64>,
    packed_bytes: Option<u64>,
    bits_per_byte: Option<Spread>,
    tokens_per_second: Option<Spread>,
    /// Those that have ended.
    pub runs: Vec<Run>,
}

/// A finished run.
#[derive(Debug, Serialize)]
pub struct Run {
    seed: u64,
    bits_per_byte: f64,
    /// Nats per token.
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

    /// With both as `number` shows them.
    fn show(self, number: fn(f64) -> String) -> String {
        match self.deviation {
            Some(deviation) => format!("{} ± {}", number(self.mean), number(deviation)),
            None => number(self.mean),
        }
    }
}

fn four_decimals(value: f64) -> String {
    format!("{value:.4}")
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
    /// The row of a model, from the runs that have ended, each with its seed.
    pub fn new(name: &'static str, config: &Config, outcomes: &[(u64, &Outcome)]) -> Self {
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
    pub fn files(out: &Path) -> [(Output, Product); 2] {
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
    pub fn rows(&self) -> Vec<Vec<String>> {
        let mut seeds: Vec<u64> =
            self.models.iter().flat_map(|model| model.runs.iter().map(|run| run.seed)).collect();
        seeds.sort();
        seeds.dedup();
        let mut header =
            ["model", "lr", "parameters", "packed bytes", "bits/byte"].map(String::from).to_vec();
        header.extend(seeds.iter().map(|seed| format!("seed {seed}")));
        header.push("tokens/s".into());
        let rows = self.models.iter().map(|model| {
            let shown = |spread: Option<Spread>, number| {
                spread.map_or("-".into(), |spread| spread.show(number))
            };
            let count = |count: Option<u64>| count.map_or("-".into(), thousands);
            let mut row = vec![
                model.name.into(),
                format!("{:e}", model.learning_rate),
                count(model.parameters),
                count(model.packed_bytes),
                shown(model.bits_per_byte, four_decimals),
            ];
            row.extend(seeds.iter().map(|&seed| {
                let run = model.runs.iter().find(|run| run.seed == seed);
                run.map_or("-".into(), |run| four_decimals(run.bits_per_byte))
            }));
            row.push(shown(model.tokens_per_second, |speed| thousands(format!("{speed:.0}"))));
            row
        });
        std::iter::once(header).chain(rows).collect()
    }

    /// Writes its files.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn write(&self, out: &Path) -> anyhow::Result<()> {
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
        assert_eq!(spread.show(four_decimals), "3.0000 ± 1.0000");
        assert_eq!(Spread::of(&[2.0]).unwrap().show(four_decimals), "2.0000");
        assert_eq!(Spread::of(&[]), None);
    }
}
