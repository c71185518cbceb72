//! What several commands have on their command lines.

mod backend;
mod pack;
mod sampling;

pub use backend::{BackendArgs, ThreadArgs};
pub use pack::{Head, PackArgs};
pub use sampling::SamplingArgs;
