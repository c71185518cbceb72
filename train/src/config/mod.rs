//! The configuration of a run: one TOML file, with overrides from the command line.

mod changes;
mod distill;
mod key;
mod load;
mod optimizer;
mod overrides;
mod paths;
mod sections;
mod train;
mod tree;
mod twin;

pub use changes::Changes;
pub use distill::DistillSection;
pub use load::{from_toml, load, pairs, to_toml};
pub use optimizer::OptimizerKind;
pub use overrides::Overrides;
pub use sections::{
    BYTES, BackendSection, CheckpointSection, DataSection, EvalSection, LogSection, ModelSection,
    SampleSection,
};
pub use train::{MAX_STEPS, TrainSection};
pub use twin::TwinSection;

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};

use self::key::{Change, Key, Section, within};

/// Everything a run depends on. Each key has a default; unknown ones are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Seed of the initial weights, of the batches and of the samples.
    pub seed: u64,
    /// Where the run computes.
    pub backend: BackendSection,
    /// The model.
    pub model: ModelSection,
    /// The text.
    pub data: DataSection,
    /// The optimisation.
    pub train: TrainSection,
    /// Validation.
    pub eval: EvalSection,
    /// What is saved, and how often.
    pub checkpoint: CheckpointSection,
    /// What is measured beside the losses.
    pub log: LogSection,
    /// The text generated at each validation.
    pub sample: SampleSection,
    /// The model to learn from.
    pub distill: DistillSection,
    /// Learning rates of the models beside the ternary one.
    pub twin: TwinSection,
}

/// The keys whose last part is `name`.
pub fn keys_named(name: &str) -> Vec<&'static str> {
    let keys = Config::keys().map(|key| key.name);
    keys.filter(|key| key.rsplit('.').next() == Some(name)).collect()
}

/// The key that is in no section.
const SEED: &[Key] = &[Key { name: "seed", change: Change::Experiment }];

impl Config {
    /// Every key, section by section.
    fn keys() -> impl Iterator<Item = &'static Key> {
        [
            SEED,
            BackendSection::KEYS,
            ModelSection::KEYS,
            DataSection::KEYS,
            TrainSection::KEYS,
            EvalSection::KEYS,
            CheckpointSection::KEYS,
            LogSection::KEYS,
            SampleSection::KEYS,
            DistillSection::KEYS,
            TwinSection::KEYS,
        ]
        .into_iter()
        .flatten()
    }

    /// Checks the range of every key.
    fn check(&self) -> anyhow::Result<()> {
        // Taken apart, so that no section is left out.
        let Self {
            seed,
            backend,
            model,
            data,
            train,
            eval,
            checkpoint,
            log,
            sample,
            distill,
            twin,
        } = self;
        // TOML has no larger one, and a run's configuration is written down.
        within(0..=i64::MAX as u64)("seed", seed)?;
        backend.check()?;
        model.check()?;
        data.check()?;
        train.check()?;
        eval.check()?;
        checkpoint.check()?;
        log.check()?;
        sample.check()?;
        distill.check()?;
        twin.check()
    }

    /// How many micro-batches are computed at the same time. Backends that use the whole device
    /// for each operation take one after the other.
    pub fn workers(&self) -> usize {
        if self.backend.kind.is_single_threaded() { self.train.workers } else { 1 }
    }

    /// Checks every value that has a range, and fills in those that follow from others.
    ///
    /// # Errors
    /// The first key out of its range.
    pub fn resolve(mut self) -> anyhow::Result<Self> {
        let ModelSection { dim, heads, dim_head, .. } = self.model;
        ensure!(
            dim_head.is_some() || heads == 0 || dim.is_multiple_of(heads),
            "model.dim {dim} is no multiple of model.heads {heads}: set model.dim_head"
        );
        self.model.fill_in();
        self.check()?;
        self.model.validate()?;
        ensure!(
            self.checkpoint.every > 0 || self.checkpoint.minutes > 0.0,
            "checkpoint.every and checkpoint.minutes are both 0: nothing would be saved"
        );
        let held_out = self.data.validation + self.data.test;
        ensure!(held_out < 1.0, "data.validation and data.test are {held_out}: nothing is left");
        if self.data.sources.is_empty() {
            bail!("data.sources is empty; name a dataset or a file");
        }
        Ok(self)
    }

    /// Replaces a budget of tokens, epochs or tokens per parameter by the steps it comes to,
    /// rounded up, for a model of `parameters` parameters and `text` tokens to train on.
    ///
    /// # Errors
    /// If there are more steps than can be counted.
    pub fn with_steps(mut self, parameters: u128, text: usize) -> anyhow::Result<Self> {
        let train = &mut self.train;
        let tokens = train
            .tokens
            .take()
            .map(|tokens| tokens as f64)
            .or(train.epochs.take().map(|epochs| epochs * text as f64))
            .or(train.tokens_per_parameter.take().map(|ratio| ratio * parameters as f64));
        if let Some(tokens) = tokens {
            let per_step = (train.batch * train.accumulation * self.model.context) as f64;
            let steps = (tokens / per_step).ceil().max(1.0);
            ensure!(
                steps <= MAX_STEPS as f64,
                "the budget of {tokens:e} tokens is {steps:e} steps, must be {MAX_STEPS} at most"
            );
            train.steps = steps as u64;
        }
        Ok(self)
    }

    /// The same run with its learning rates scaled so that the highest is `lr`.
    pub fn with_lr(mut self, lr: f64) -> Self {
        self.train.second_lr *= lr / self.train.lr;
        self.train.lr = lr;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    /// The names of all keys.
    fn names() -> BTreeSet<&'static str> {
        Config::keys().map(|key| key.name).collect()
    }

    #[test]
    fn every_section_has_its_keys() {
        // serde names the fields that it knows.
        let error = toml::from_str::<Config>("none = 1").unwrap_err().to_string();
        let (_, known) = error.split_once("expected one of ").unwrap();
        let known = known.split('`').skip(1).step_by(2);
        let known: BTreeSet<&str> = known.take_while(|name| !name.contains(' ')).collect();
        let sections = names().into_iter().map(|name| name.split('.').next().unwrap());
        assert_eq!(known, sections.collect());
        let set = toml::Table::try_from(Config::default()).unwrap();
        for (name, values) in set {
            match values.as_table() {
                Some(values) => {
                    let mut keys = values.keys().map(|key| format!("{name}.{key}"));
                    assert!(keys.all(|key| names().contains(&*key)), "{name}");
                }
                None => assert!(names().contains(&*name)),
            }
        }
    }

    #[test]
    fn the_quickstart_explains_every_key() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/quickstart.toml");
        let text = fs::read_to_string(path).unwrap();
        let (mut found, mut section, mut explained) = (Vec::new(), String::new(), false);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = format!("{name}.");
            }
            // A key that is commented out follows from the rest.
            let key = line.trim_start_matches("# ").split_once(" = ").map(|(key, _)| key);
            match key.filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
                Some(key) => {
                    assert!(explained, "no comment stands before {section}{key}");
                    found.push(format!("{section}{key}"));
                }
                None => explained = line.starts_with('#'),
            }
        }
        assert_eq!(found.len(), names().len());
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), names());
    }

    #[test]
    fn budgets_come_to_steps() {
        // 16 windows of 128 tokens: 2048 tokens a step.
        let steps = |set: fn(&mut TrainSection)| {
            let mut config = Config::default();
            set(&mut config.train);
            let config = config.with_steps(5000, 100_000).unwrap();
            assert_eq!((config.train.tokens, config.train.epochs), (None, None));
            config.train.steps
        };
        assert_eq!(steps(|_| ()), 1000);
        assert_eq!(steps(|train| train.tokens = Some(2048)), 1);
        assert_eq!(steps(|train| train.tokens = Some(2049)), 2);
        assert_eq!(steps(|train| train.epochs = Some(1.5)), 74);
        assert_eq!(steps(|train| train.tokens_per_parameter = Some(20.0)), 49);
    }
}
