//! What a run shows and records while it goes on.

mod metrics_csv;
mod plain;
mod report;
mod table;

pub use metrics_csv::MetricsCsv;
pub use plain::{PlainPrinter, PlainRenderer};
pub use report::{Field, Report, ReportMetric};
pub use table::{markdown, table};
