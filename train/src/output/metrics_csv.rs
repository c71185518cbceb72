use std::{fs::OpenOptions, path::Path};

use anyhow::Context;
use bitnet::storage::open_own;
use serde::{Deserialize, Serialize};

use super::{Quantization, Report, Split, report::measured};

/// A row of `metrics.csv`; columns without a value are empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricsRow {
    step: u64,
    tokens: u64,
    seconds: f64,
    train_loss: Option<f64>,
    validation_loss: Option<f64>,
    validation_bits_per_byte: Option<f64>,
    learning_rate: Option<f64>,
    weight_decay: Option<f64>,
    gradient_norm: Option<f64>,
    tokens_per_second: Option<f64>,
    validation_perplexity: Option<f64>,
    model_flops_utilization: Option<f64>,
    resident_bytes: Option<f64>,
    zeros: Option<f64>,
    flip_rate: Option<f64>,
    scale: Option<f64>,
    near_threshold: Option<f64>,
    saturated: Option<f64>,
    ema_validation_loss: Option<f64>,
}

impl MetricsRow {
    /// The row of a log interval.
    pub fn training(report: &Report) -> Self {
        Self {
            train_loss: Some(report.loss),
            learning_rate: Some(report.learning_rate),
            weight_decay: Some(report.weight_decay),
            gradient_norm: Some(report.gradient_norm),
            tokens_per_second: Some(report.tokens_per_second),
            model_flops_utilization: measured(report.utilization),
            resident_bytes: measured(report.resident_bytes),
            zeros: measured(report.quantization.zeros),
            flip_rate: measured(report.quantization.flip_rate),
            scale: measured(report.quantization.scale),
            near_threshold: measured(report.quantization.near_threshold),
            saturated: measured(report.quantization.saturated),
            ..Self::at(report)
        }
    }

    /// The row of a validation.
    pub fn validation(report: &Report) -> Self {
        Self {
            validation_loss: Some(report.loss),
            validation_bits_per_byte: Some(report.bits_per_byte),
            validation_perplexity: Some(report.loss.exp()),
            ema_validation_loss: measured(report.ema_loss),
            ..Self::at(report)
        }
    }

    /// Learning rate and loss of each log line of a table.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read_training(path: &Path) -> anyhow::Result<Vec<(f64, f64)>> {
        let rows = Self::read(path)?;
        Ok(rows.iter().filter_map(|row| row.learning_rate.zip(row.train_loss)).collect())
    }

    /// What the rows of a table say: the reports of log intervals and of validations, in their
    /// order. `bits_per_byte` is what the table does not say of a training loss.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read_reports(
        path: &Path,
        bits_per_byte: impl Fn(f64) -> f64,
    ) -> anyhow::Result<Vec<(Split, Report)>> {
        let rows = Self::read(path)?;
        Ok(rows.iter().filter_map(|row| row.report(&bits_per_byte)).collect())
    }

    fn read(path: &Path) -> anyhow::Result<Vec<Self>> {
        let read = || {
            let file = open_own(path, OpenOptions::new().read(true))?;
            csv::Reader::from_reader(file).deserialize().collect::<csv::Result<_>>()
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    }

    fn report(&self, bits_per_byte: impl Fn(f64) -> f64) -> Option<(Split, Report)> {
        let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let report =
            Report { step: self.step, tokens: self.tokens, seconds: self.seconds, ..Report::EMPTY };
        if let Some(loss) = self.validation_loss {
            let bits_per_byte = number(self.validation_bits_per_byte);
            return Some((Split::Validation, Report { loss, bits_per_byte, ..report }));
        }
        let loss = self.train_loss?;
        let report = Report {
            loss,
            bits_per_byte: bits_per_byte(loss),
            learning_rate: number(self.learning_rate),
            weight_decay: number(self.weight_decay),
            gradient_norm: number(self.gradient_norm),
            tokens_per_second: number(self.tokens_per_second),
            utilization: number(self.model_flops_utilization),
            resident_bytes: number(self.resident_bytes),
            quantization: Quantization {
                zeros: number(self.zeros),
                flip_rate: number(self.flip_rate),
                scale: number(self.scale),
                near_threshold: number(self.near_threshold),
                saturated: number(self.saturated),
            },
            ..report
        };
        Some((Split::Training, report))
    }

    fn at(report: &Report) -> Self {
        Self {
            step: report.step,
            tokens: report.tokens,
            seconds: report.seconds,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::output::table::Table;

    fn report(step: u64) -> Report {
        Report {
            step,
            tokens: step * 10,
            seconds: step as f64,
            loss: 2.5,
            bits_per_byte: 3.5,
            learning_rate: 0.001,
            weight_decay: 0.1,
            gradient_norm: 1.0,
            tokens_per_second: 100.0,
            quantization: Quantization { zeros: 0.25, ..Quantization::EMPTY },
            ..Report::EMPTY
        }
    }

    #[test]
    fn resuming_cuts_off_what_the_checkpoint_does_not_cover() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut table = Table::open(&path).unwrap();
        table.write([10, 20].map(|step| MetricsRow::training(&report(step)))).unwrap();
        let bytes = table.sync().unwrap();
        table.write([MetricsRow::validation(&report(20))]).unwrap();
        table.write([MetricsRow::training(&report(30))]).unwrap();
        drop(table);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 12]).unwrap();

        assert!(Table::cut(&path, bytes).unwrap());
        let mut table = Table::open(&path).unwrap();
        let averaged = Report { ema_loss: 2.25, ..report(20) };
        table.write([MetricsRow::validation(&averaged)]).unwrap();
        let lines: Vec<String> =
            fs::read_to_string(&path).unwrap().lines().map(String::from).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].starts_with("step,tokens,seconds,train_loss,validation_loss,"));
        assert_eq!(lines[2], "20,200,20.0,2.5,,,0.001,0.1,1.0,100.0,,,,0.25,,,,,");
        assert_eq!(lines[3], "20,200,20.0,,2.5,3.5,,,,,12.182493960703473,,,,,,,,2.25");

        // What is read is what was written.
        let [first, second, third] =
            &MetricsRow::read_reports(&path, |loss| loss + 1.0).unwrap()[..]
        else {
            panic!("{lines:?}")
        };
        assert_eq!((first.0, second.0, third.0), {
            (Split::Training, Split::Training, Split::Validation)
        });
        assert_eq!(MetricsRow::training(&second.1), MetricsRow::training(&report(20)));
        assert_eq!((second.1.bits_per_byte, third.1.bits_per_byte), (3.5, 3.5));
        assert_eq!(MetricsRow::read_training(&path).unwrap(), [(0.001, 2.5); 2]);
    }
}
