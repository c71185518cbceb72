//! What a run shows and records while it goes on.

mod by_block;
mod event_file;
mod field;
mod instruments_csv;
mod markdown;
mod metric;
mod metrics_csv;
mod plain;
mod quantization;
mod records;
mod renderer;
mod report;
mod report_metric;
mod table;
mod text_lines;

pub use field::Field;
pub use instruments_csv::INSTRUMENTS;
pub use markdown::markdown;
pub use metrics_csv::MetricsRow;
pub use plain::{PlainLines, PlainPrinter, WIDTH};
pub use quantization::Quantization;
pub use records::{Lengths, Records};
pub use renderer::{ReportRenderer, ReportView};
pub use report::{Report, Split};
pub use report_metric::ReportMetric;
pub use text_lines::wrap;
