//! The optimisers of the BitNet recipes: AdamW that decays matrices only, Muon for the linears'
//! weights, gradient clipping by the global norm, schedules of learning rate and weight decay, and
//! moving averages of the weights.
//!
//! They replace Burn's built-ins where those do something else: its clipping is per tensor, its
//! cosine schedule jumps back to the peak after the last step, and its optimisers have no
//! parameter groups.

mod adamw;
mod average;
mod clip;
mod mixed;
mod muon;
mod schedule;

pub use adamw::{AdamW, AdamWConfig};
pub use average::moving_average;
pub use clip::clip_global_norm;
pub use mixed::{MuonAdamW, linear_weights};
pub use muon::{Muon, MuonConfig, MuonState};
pub use schedule::{Schedule, ScheduleKind};
