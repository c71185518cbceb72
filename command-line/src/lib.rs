//! What the command lines of `train` and `infer` have in common.

#[cfg(test)]
mod commit;
mod data;
mod shell;
mod table;
mod usage;
mod version;

pub use data::DataArgs;
pub use shell::{CompletionsArgs, ManArgs};
pub use table::{Align, table, thousands};
pub use usage::one_line;
pub use version::version;
