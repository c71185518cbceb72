//! The commands, a file each.

mod bench;
mod chat;
mod eval;
mod export;
mod footprint;
mod generate;
mod info;
mod speak;

pub use bench::BenchArgs;
pub use eval::EvalArgs;
pub use export::ExportArgs;
pub use generate::GenerateArgs;
pub use info::InfoArgs;
