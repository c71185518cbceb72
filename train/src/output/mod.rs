//! What a run shows and records while it goes on.

mod event_file;
mod instruments_csv;
mod memory;
mod metrics_csv;
mod plain;
mod records;
mod report;
mod table;
mod text_table;

pub use memory::{peak_resident_bytes, resident_bytes};
pub use metrics_csv::MetricsRow;
pub use plain::{PlainPrinter, PlainRenderer};
pub use records::{Lengths, Records};
pub use report::{Field, Report, ReportMetric};
pub use text_table::{markdown, table};
