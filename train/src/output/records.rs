use std::path::PathBuf;

use bitnet::quant_stats::QuantStats;

use super::{
    Field, Report, Split, event_file::EventFile, instruments_csv::InstrumentsRow,
    metrics_csv::MetricsRow, report::measured, table::Table,
};
use crate::run_folder::RunFolder;

/// What a run writes down as it goes on: `metrics.csv`, `instruments.csv`, and the events that
/// TensorBoard reads.
pub struct Records {
    metrics: Table,
    /// Begun with its first row: a run in full precision has none.
    instruments: Option<Table>,
    instruments_path: PathBuf,
    events: EventFile,
}

/// Lengths of the tables in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lengths {
    /// Of `metrics.csv`.
    pub metrics: u64,
    /// Of `instruments.csv`.
    pub instruments: u64,
}

impl Records {
    /// Goes on with the tables of a run, and begins a file of events, whose first step is `step`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn open(folder: &RunFolder, step: u64) -> anyhow::Result<Self> {
        let instruments_path = folder.instruments();
        let exists = instruments_path.exists();
        Ok(Self {
            metrics: Table::open(&folder.metrics())?,
            instruments: exists.then(|| Table::open(&instruments_path)).transpose()?,
            instruments_path,
            events: EventFile::start(folder.path(), step)?,
        })
    }

    /// Cuts off what an interrupted session wrote into the tables after a checkpoint that holds
    /// their lengths. Returns those of which rows are lost.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn cut(folder: &RunFolder, lengths: Lengths) -> anyhow::Result<Vec<PathBuf>> {
        let mut lost = Vec::new();
        let tables =
            [(folder.metrics(), lengths.metrics), (folder.instruments(), lengths.instruments)];
        for (path, bytes) in tables {
            if !Table::cut(&path, bytes)? {
                lost.push(path);
            }
        }
        Ok(lost)
    }

    /// Flushes the tables to disk and returns their lengths.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn sync(&mut self) -> anyhow::Result<Lengths> {
        let instruments = match &mut self.instruments {
            Some(table) => table.sync()?,
            None => 0,
        };
        Ok(Lengths { metrics: self.metrics.sync()?, instruments })
    }

    /// Writes down a log interval.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn training(&mut self, report: &Report) -> anyhow::Result<()> {
        self.metrics.write([MetricsRow::training(report)])?;
        self.scalars(Split::Training, report)
    }

    /// Writes down a validation.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn validation(&mut self, report: &Report) -> anyhow::Result<()> {
        self.metrics.write([MetricsRow::validation(report)])?;
        self.scalars(Split::Validation, report)
    }

    /// Writes what was measured of a report where TensorBoard finds it.
    fn scalars(&mut self, split: Split, report: &Report) -> anyhow::Result<()> {
        let scalars = Field::ALL
            .into_iter()
            .filter_map(|field| Some((field.tag(split)?, measured(field.recorded(report))?)));
        self.events.scalars(report.step, &scalars.collect::<Vec<_>>())
    }

    /// Writes down the instruments after `step`, the last of `steps` since they were last read.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn instruments(
        &mut self,
        step: u64,
        steps: u64,
        layers: &[(String, QuantStats)],
    ) -> anyhow::Result<()> {
        let table = match &mut self.instruments {
            Some(table) => table,
            empty => empty.insert(Table::open(&self.instruments_path)?),
        };
        table.write(layers.iter().map(|layer| InstrumentsRow::new(step, steps, layer)))
    }

    /// Writes down a sample where TensorBoard finds it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sample(&mut self, step: u64, text: &str) -> anyhow::Result<()> {
        self.events.text(step, "sample", text)
    }
}
