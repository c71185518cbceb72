//! What a run shows and records while it goes on.

mod event_file;
mod instruments_csv;
mod metrics_csv;
mod plain;
mod quantization;
mod records;
mod renderer;
mod report;
mod table;
mod text_lines;
mod text_table;

pub use metrics_csv::MetricsRow;
pub use plain::{PlainLines, PlainPrinter, WIDTH};
pub use quantization::Quantization;
pub use records::{Lengths, Records};
pub use renderer::{ReportRenderer, ReportView, Split};
pub use report::{Field, Report, ReportMetric};
pub use text_lines::wrap;
pub use text_table::{markdown, table};
