//! What the command lines of `train` and `infer` have in common, and what a program sets for its
//! whole process.

#[cfg(test)]
mod commit;
mod cut_files;
mod data;
mod full_files;
mod panics;
mod shell;
mod table;
mod threads;
mod usage;
mod version;

pub use cut_files::exit_on_cut_files;
pub use data::DataArgs;
pub use full_files::fail_on_full_files;
pub use panics::catch_all_panics;
pub use shell::{CompletionsArgs, ManArgs};
pub use table::{Align, table, thousands};
pub use threads::{check_threads, limit_threads};
pub use usage::one_line;
pub use version::version;
