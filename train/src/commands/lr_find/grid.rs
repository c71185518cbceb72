use std::path::Path;

use anyhow::ensure;
use bitnet::terminal::number;
use command_line::{Align, table};

use super::stripped::stripped;
use crate::{
    commands::series::{Planned, Series, check_folder},
    config::Config,
    training::{Options, Outcome},
};

/// Steps of a short run that tries a learning rate.
pub const TUNING_STEPS: u64 = 200;

/// Short runs at some rates, each with its whole schedule: the rate of the lowest validation loss
/// is suggested.
pub struct Grid<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The rates.
    pub rates: &'a [f64],
    /// Steps of each run.
    pub steps: u64,
}

impl Grid<'_> {
    /// Makes all runs go on to their ends in `out`, and prints how they compare. Returns the best
    /// rate, or nothing if it was interrupted.
    ///
    /// # Errors
    /// If a rate cannot be used, or a run fails.
    pub fn run(&self, out: &Path, options: Options) -> anyhow::Result<Option<f64>> {
        ensure!(!self.rates.is_empty(), "there is no rate to try");
        let plan: Vec<Planned> =
            self.rates.iter().map(|&rate| self.plan(rate)).collect::<anyhow::Result<_>>()?;
        check_folder(out)?;
        let series = Series::run(out, &plan, options);
        let ended: Vec<(f64, &Outcome)> = self
            .rates
            .iter()
            .zip(&series.outcomes)
            .filter_map(|(&rate, outcome)| Some((rate, outcome.as_ref()?)))
            .collect();
        let best = ended
            .iter()
            .min_by(|a, b| a.1.validation_loss.total_cmp(&b.1.validation_loss))
            .map(|&(rate, _)| rate);
        if best.is_some() {
            say!("\n{}", table(&rows(&ended, best), Align::Left).trim_end());
        }
        series.check()?;
        let Some(best) = best.filter(|_| series.is_complete()) else { return Ok(None) };
        say!("suggested: train.lr={best:e}, the lowest validation loss after {} steps", self.steps);
        let highest = self.rates.iter().copied().fold(f64::MIN, f64::max);
        let lowest = self.rates.iter().copied().fold(f64::MAX, f64::min);
        if self.rates.len() > 1 && (best == highest || best == lowest) {
            say!("it is at the end of the grid: the best rate may lie beyond");
        }
        Ok(Some(best))
    }

    /// The short run at a rate. What happens at the beginning of a run takes a tenth of it at
    /// most.
    fn plan(&self, rate: f64) -> anyhow::Result<Planned> {
        ensure!(
            rate > 0.0 && rate <= 1e3,
            "the rate {} must be above 0, at most 1000",
            number(rate)
        );
        let mut config = stripped(self.config, self.steps).with_lr(rate);
        let train = &mut config.train;
        for beginning in [&mut train.warmup, &mut train.quant_start, &mut train.quant_warmup] {
            *beginning = (*beginning).min(self.steps / 10);
        }
        if config.eval.windows > 0 {
            config.eval.final_windows = config.eval.windows;
        }
        Ok(Planned { name: format!("lr-{rate:e}"), config: config.resolve()? })
    }
}

fn rows(ended: &[(f64, &Outcome)], best: Option<f64>) -> Vec<Vec<String>> {
    let header = ["lr", "nats/token", "bits/byte", ""].map(String::from).to_vec();
    let rows = ended.iter().map(|(rate, outcome)| {
        vec![
            format!("{rate:e}"),
            format!("{:.4}", outcome.validation_loss),
            format!("{:.4}", outcome.validation_bits_per_byte),
            if best == Some(*rate) { "lowest".into() } else { String::new() },
        ]
    });
    std::iter::once(header).chain(rows).collect()
}
