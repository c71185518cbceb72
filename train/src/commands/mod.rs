//! The commands, a file or a folder each, but for training itself, which is `training`.

pub mod backends;
mod bench;
mod lr_find;
mod report;
mod run_args;
mod series;
mod tokenizer;
mod twin;

pub use bench::BenchArgs;
pub use lr_find::LrFindArgs;
pub use report::ReportArgs;
pub use run_args::{OverrideArgs, SessionArgs, default_out};
pub use tokenizer::TokenizerArgs;
pub use twin::TwinArgs;
