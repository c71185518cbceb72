use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
};

use anyhow::Context;
use bitnet::storage;
use serde::{Deserialize, Serialize};

use super::Report;

/// A row of `metrics.csv`; columns without a value are empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Row {
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
}

/// The table of a run's metrics: losses in nats a token.
pub struct MetricsCsv {
    path: PathBuf,
    writer: csv::Writer<File>,
}

impl MetricsCsv {
    /// Opens the table of a run that has done `step` steps. Rows of later steps, which an
    /// interrupted session left behind, are dropped.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(path: &Path, step: u64) -> anyhow::Result<Self> {
        let cannot_write = || format!("cannot write {}", path.display());
        let mut kept = csv::Writer::from_writer(Vec::new());
        if path.exists() {
            let mut rows = csv::ReaderBuilder::new()
                .flexible(true)
                .from_path(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            // The last row may be cut short; it then belongs to a step that is done again.
            for row in rows.deserialize::<Row>().map_while(Result::ok).filter(|r| r.step <= step) {
                kept.serialize(row)?;
            }
        }
        let kept =
            kept.into_inner().map_err(|error| error.into_error()).with_context(cannot_write)?;
        let is_new = kept.is_empty();
        storage::write_file(path, &kept).with_context(cannot_write)?;
        let file = OpenOptions::new().append(true).open(path).with_context(cannot_write)?;
        let writer = csv::WriterBuilder::new().has_headers(is_new).from_writer(file);
        Ok(Self { path: path.into(), writer })
    }

    /// Adds the row of a log interval.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn training(&mut self, report: &Report) -> anyhow::Result<()> {
        self.write(Row {
            train_loss: Some(report.loss),
            learning_rate: Some(report.learning_rate),
            weight_decay: Some(report.weight_decay),
            gradient_norm: Some(report.gradient_norm),
            tokens_per_second: Some(report.tokens_per_second),
            ..Row::at(report)
        })
    }

    /// Adds the row of a validation.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn validation(&mut self, report: &Report) -> anyhow::Result<()> {
        self.write(Row {
            validation_loss: Some(report.loss),
            validation_bits_per_byte: Some(report.bits_per_byte),
            ..Row::at(report)
        })
    }

    fn write(&mut self, row: Row) -> anyhow::Result<()> {
        self.writer
            .serialize(row)
            .and_then(|()| Ok(self.writer.flush()?))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

impl Row {
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
        }
    }

    #[test]
    fn resuming_drops_later_and_unfinished_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut table = MetricsCsv::open(&path, 0).unwrap();
        for step in [10, 20, 30] {
            table.training(&report(step)).unwrap();
        }
        table.validation(&report(30)).unwrap();
        drop(table);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 12]).unwrap();

        let mut table = MetricsCsv::open(&path, 20).unwrap();
        table.validation(&report(20)).unwrap();
        let lines: Vec<String> =
            fs::read_to_string(&path).unwrap().lines().map(String::from).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].starts_with("step,tokens,seconds,train_loss,validation_loss,"));
        assert_eq!(lines[2], "20,200,20.0,2.5,,,0.001,0.1,1.0,100.0");
        assert_eq!(lines[3], "20,200,20.0,,2.5,3.5,,,,");
    }
}
