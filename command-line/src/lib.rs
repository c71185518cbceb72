//! What the command lines of `train` and `infer` have in common.

#[cfg(test)]
mod commit;
mod shell;
mod usage;
mod version;

pub use shell::{CompletionsArgs, ManArgs};
pub use usage::one_line;
pub use version::version;
