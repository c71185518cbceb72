use std::{io::Write, path::Path};

use anyhow::{Context, ensure};
use bitnet::{
    optim::ScheduleKind,
    storage::{Output, Product, read_own},
    terminal::number,
};
use command_line::{Align, table};

use super::{curve, stripped::stripped};
use crate::{
    commands::series::{Planned, Series, begins, cannot_write, check_folder},
    config::{self, Config},
    output::MetricsRow,
    run_folder,
    training::{Options, Rates},
};

/// Share of the loss before in the smoothed loss.
const SMOOTHING: f64 = 0.9;
/// The suggested rate, as a share of the one where the smoothed loss is lowest. Of the quickstart,
/// whose best rate for a whole run is known, that one is about four times as high.
const SHARE: f64 = 0.25;
/// Rows of the table.
const ROWS: usize = 16;
const NAME: &str = "sweep";
/// The first line of the table.
const HEADER: &str = "learning_rate,loss,smoothed";
/// The table.
const CURVE: Product =
    Product { reason: "is no earlier table of a sweep", is_one: |path| begins(path, HEADER) };

/// A learning-rate range test (arXiv 1506.01186): one run, in which the rate rises exponentially
/// from step to step, until the loss goes up by a nat.
pub struct Sweep<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The first rate.
    pub from: f64,
    /// The last one.
    pub to: f64,
    /// Steps between them.
    pub steps: u64,
}

/// A step of the sweep.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    rate: f64,
    loss: f64,
    smoothed: f64,
}

impl Sweep<'_> {
    /// Makes the run go on to its end in `out`, prints its curve, and writes `lr-find.csv` there.
    ///
    /// # Errors
    /// If the rates cannot be used, or the run fails.
    pub fn run(&self, out: &Path, options: Options) -> anyhow::Result<()> {
        let (from, to) = (self.from, self.to);
        ensure!(
            // The optimiser holds them in 32 bits.
            0.0 < from as f32 && from < to && to <= 1e3,
            "the rates go from {} to {}, must rise from above 0 to at most 1000",
            number(from),
            number(to)
        );
        let plan = Planned { name: NAME.into(), config: self.configure()? };
        let written = Output::new(&out.join("lr-find.csv"));
        check_folder(out)?;
        written.check_file(&CURVE).with_context(|| cannot_write(&written))?;
        check_steps(&out.join(NAME), self.steps)?;
        let options = Options { rates: Rates::RangeTest, ..options };
        let series = Series::run(out, &[plan], options);
        series.check()?;
        if !series.is_complete() {
            return Ok(());
        }
        let points = smoothed(&MetricsRow::read_training(&out.join(NAME).join("metrics.csv"))?);
        ensure!(points.len() >= 10, "the sweep ended after {} steps: lower --from", points.len());
        write(&written, &points)?;

        let lowest = lowest(&points);
        let suggestion = lowest.rate * SHARE;
        let drawn: Vec<(f64, f64)> =
            points.iter().map(|point| (point.rate, point.smoothed)).collect();
        let curve = curve::draw(&drawn, suggestion);
        say!("\n{}\n{}", table(&rows(&points), Align::Left), curve.trim_end());
        say!("lowest smoothed loss: {:.4}, at {:.1e}", lowest.smoothed, lowest.rate);
        if Some(&lowest) == points.last() {
            say!("the loss was still falling at the last rate: raise --to");
        } else {
            say!(
                "suggested: train.lr={suggestion:.1e}, a quarter of that; lr-find --grid is more \
                 reliable"
            );
        }
        Ok(())
    }

    fn configure(&self) -> anyhow::Result<Config> {
        let mut config = stripped(self.config, self.steps);
        let train = &mut config.train;
        // The rates are those of the range test: the schedule's are not asked for.
        train.schedule = ScheduleKind::Constant;
        (train.second_lr, train.lr) = (self.from, self.to);
        (train.warmup, train.quant_start, train.quant_warmup) = (0, 0, 0);
        train.log_every = 1;
        // The curve is made of training losses.
        (config.eval.windows, config.eval.final_windows) = (1, 1);
        config.resolve()
    }
}

/// Refuses to go on with a sweep of another number of steps: its rates rise otherwise.
fn check_steps(sweep: &Path, steps: u64) -> anyhow::Result<()> {
    if !run_folder::is_begun(sweep) {
        return Ok(());
    }
    let path = sweep.join("config.toml");
    let cannot_read = || format!("cannot read {}", path.display());
    let text = String::from_utf8(read_own(&path).with_context(cannot_read)?)?;
    let begun = config::from_toml(&text).with_context(cannot_read)?.train.steps;
    ensure!(
        begun == steps,
        "{} was begun with {begun} steps; name another --out for one of {steps}",
        sweep.display()
    );
    Ok(())
}

/// Adds smoothed losses: a moving average, freed of the weight of its beginning.
fn smoothed(rows: &[(f64, f64)]) -> Vec<Point> {
    let (mut sum, mut weight) = (0.0, 0.0);
    rows.iter()
        .map(|&(rate, loss)| {
            sum = SMOOTHING * sum + (1.0 - SMOOTHING) * loss;
            weight = SMOOTHING * weight + (1.0 - SMOOTHING);
            Point { rate, loss, smoothed: sum / weight }
        })
        .collect()
}

fn lowest(points: &[Point]) -> Point {
    let mut lowest = points[0];
    for &point in points {
        if point.smoothed < lowest.smoothed {
            lowest = point;
        }
    }
    lowest
}

fn rows(points: &[Point]) -> Vec<Vec<String>> {
    let header = ["lr", "loss", "smoothed"].map(String::from).to_vec();
    let count = ROWS.min(points.len());
    let shown = (0..count).map(|row| &points[row * (points.len() - 1) / (count - 1).max(1)]);
    let rows = shown.map(|point| {
        vec![
            format!("{:.2e}", point.rate),
            format!("{:.4}", point.loss),
            format!("{:.4}", point.smoothed),
        ]
    });
    std::iter::once(header).chain(rows).collect()
}

fn write(to: &Output, points: &[Point]) -> anyhow::Result<()> {
    let mut text = format!("{HEADER}\n");
    for Point { rate, loss, smoothed } in points {
        text += &format!("{rate},{loss},{smoothed}\n");
    }
    to.write_file(&CURVE, |file| file.write_all(text.as_bytes())).with_context(|| cannot_write(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_by_hand() {
        // Weights 0.1 and 0.09, and their sum.
        let points = smoothed(&[(1.0, 4.0), (2.0, 2.0), (4.0, 8.0)]);
        let second = (0.09 * 4.0 + 0.1 * 2.0) / 0.19;
        assert!((points[0].smoothed - 4.0).abs() < 1e-12);
        assert!((points[1].smoothed - second).abs() < 1e-12);
        assert_eq!(lowest(&points).rate, 2.0);
    }
}
