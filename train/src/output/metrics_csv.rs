use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;
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
    ema_validation_loss: Option<f64>,
}

/// The table of a run's metrics: losses in nats a token.
pub struct MetricsCsv {
    path: PathBuf,
    writer: csv::Writer<File>,
}

impl MetricsCsv {
    /// Opens the table, or begins one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let (file, bytes) = file
            .and_then(|file| file.metadata().map(|metadata| (file, metadata.len())))
            .with_context(|| format!("cannot write {}", path.display()))?;
        let writer = csv::WriterBuilder::new().has_headers(bytes == 0).from_writer(file);
        Ok(Self { path: path.into(), writer })
    }

    /// Learning rate and loss of each log line of a table.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read_training(path: &Path) -> anyhow::Result<Vec<(f64, f64)>> {
        let read = || -> csv::Result<Vec<(f64, f64)>> {
            let mut rows = Vec::new();
            for row in csv::Reader::from_path(path)?.deserialize() {
                let Row { learning_rate, train_loss, .. } = row?;
                rows.extend(learning_rate.zip(train_loss));
            }
            Ok(rows)
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    }

    /// Cuts off what an interrupted session wrote after the first `bytes` of the table. Gives
    /// `false` if there is less: then rows are lost, and only whole ones are left.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn cut(path: &Path, bytes: u64) -> anyhow::Result<bool> {
        let cut = || -> io::Result<bool> {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(path)?;
            let mut kept = Vec::new();
            (&file).take(bytes).read_to_end(&mut kept)?;
            let whole_rows = kept.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            file.set_len(whole_rows as u64)?;
            Ok(kept.len() as u64 == bytes)
        };
        cut().with_context(|| format!("cannot cut {}", path.display()))
    }

    /// Flushes the table to disk and gives its length.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sync(&mut self) -> anyhow::Result<u64> {
        let file = self.writer.get_ref();
        file.sync_all()
            .and_then(|()| Ok(file.metadata()?.len()))
            .with_context(|| format!("cannot write {}", self.path.display()))
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

    /// Adds the row of a validation, with the loss of the moving average where there is one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn validation(&mut self, report: &Report, ema_loss: Option<f64>) -> anyhow::Result<()> {
        self.write(Row {
            validation_loss: Some(report.loss),
            validation_bits_per_byte: Some(report.bits_per_byte),
            ema_validation_loss: ema_loss,
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
    fn resuming_cuts_off_what_the_checkpoint_does_not_cover() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let mut table = MetricsCsv::open(&path).unwrap();
        for step in [10, 20] {
            table.training(&report(step)).unwrap();
        }
        let bytes = table.sync().unwrap();
        table.validation(&report(20), None).unwrap();
        table.training(&report(30)).unwrap();
        drop(table);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 12]).unwrap();

        assert!(MetricsCsv::cut(&path, bytes).unwrap());
        let mut table = MetricsCsv::open(&path).unwrap();
        table.validation(&report(20), Some(2.25)).unwrap();
        let lines: Vec<String> =
            fs::read_to_string(&path).unwrap().lines().map(String::from).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].starts_with("step,tokens,seconds,train_loss,validation_loss,"));
        assert_eq!(lines[2], "20,200,20.0,2.5,,,0.001,0.1,1.0,100.0,");
        assert_eq!(lines[3], "20,200,20.0,,2.5,3.5,,,,,2.25");

        assert_eq!(MetricsCsv::read_training(&path).unwrap(), [(0.001, 2.5), (0.001, 2.5)]);

        // Lost rows are told of, and no half row is left.
        fs::write(&path, "step\n1\n2").unwrap();
        assert!(!MetricsCsv::cut(&path, 1000).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "step\n1\n");
        fs::remove_file(&path).unwrap();
        assert!(!MetricsCsv::cut(&path, 1000).unwrap());
    }
}
