//! `train twin`: the ternary model of a configuration, and what it is to be compared with.

mod comparison;
mod variant;

use std::path::{Path, PathBuf};

use anyhow::Context;
use command_line::{Align, table};

use self::{
    comparison::{Comparison, Model},
    variant::Variant,
};
use super::{
    lr_find::{Grid, TUNING_STEPS},
    run_args::{OverrideArgs, SessionArgs, default_out},
    series::{Planned, Series, cannot_write, check_folder},
};
use crate::{
    config::{self, Config, MAX_STEPS},
    training::Options,
};

/// Which models to compare, and how.
#[derive(Debug, clap::Args)]
pub struct TwinArgs {
    /// Configuration of the models
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Train the binary model, too
    #[arg(long)]
    binary: bool,
    /// Train the ternary model of twice the width, too
    #[arg(long)]
    double: bool,
    /// Seeds of the runs of each model [default: that of the configuration]
    #[arg(long, value_name = "SEED,...", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// First find a rate for each model, with short runs at a quarter, a half, one and two times
    /// its own
    #[arg(long)]
    tune: bool,
    /// Steps of those short runs
    #[arg(long, value_name = "STEPS", default_value_t = TUNING_STEPS, requires = "tune",
          value_parser = clap::value_parser!(u64).range(10..=MAX_STEPS))]
    tune_steps: u64,
    /// Folder of all runs [default: runs/NAME-twin, after the configuration file]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    session: SessionArgs,
}

impl TwinArgs {
    /// Makes all runs go on to their ends, and prints the comparison.
    ///
    /// # Errors
    /// If the configuration cannot be used, or a run fails.
    pub fn run(self) -> anyhow::Result<()> {
        let config = config::load(&self.config, &self.overrides.into())?;
        let out = match self.out {
            Some(out) => out,
            None => default_out(&self.config, "-twin")?,
        };
        let mut variants = vec![Variant::Ternary, Variant::FullPrecision];
        variants.extend(self.binary.then_some(Variant::Binary));
        variants.extend(self.double.then_some(Variant::Double));
        let mut seeds = if self.seeds.is_empty() { vec![config.seed] } else { self.seeds };
        seeds.sort();
        seeds.dedup();
        let tuning = self.tune.then_some(self.tune_steps);
        let twin = Twin { config: &config, variants: &variants, seeds: &seeds, tuning };
        twin.run(&out, self.session.into())
    }
}

/// The rates that are tried for a model, as multiples of its own.
const TUNING: [f64; 4] = [0.25, 0.5, 1.0, 2.0];

/// What to compare.
struct Twin<'a> {
    /// The configuration.
    config: &'a Config,
    /// The models.
    variants: &'a [Variant],
    /// A run of each model for each of these.
    seeds: &'a [u64],
    /// Steps of the short runs that find each model's learning rate first, if they are to.
    tuning: Option<u64>,
}

impl Twin<'_> {
    /// Makes all runs go on to their ends in `out`, then prints the comparison and writes it to
    /// `twin.json` and `twin.md` there.
    ///
    /// # Errors
    /// If a run fails; the comparison is then of the others.
    fn run(&self, out: &Path, options: Options) -> anyhow::Result<()> {
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
                 packed bytes: 2 bits per quantised weight, an f32 per scale, {others} (checkpoint.dtype) \
                 for any other parameter"
            );
            let comparison = Comparison { legend, models };
            comparison.write(out)?;
            say!("\n{}\n{}", table(&comparison.rows(), Align::Right), comparison.legend);
        }
        series.check()
    }
}
