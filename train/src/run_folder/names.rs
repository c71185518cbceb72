//! What is in the folder of a run, by name.

/// Held by the process that writes there.
pub(super) const LOCK: &str = "lock";
/// The configuration.
pub(super) const CONFIG: &str = "config.toml";
/// The checkpoints.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// How the run ended.
pub const RESULT: &str = "result.json";
/// The table of metrics.
pub const METRICS: &str = "metrics.csv";
/// The table of instruments.
pub const INSTRUMENTS: &str = "instruments.csv";
/// How the names of TensorBoard's files begin, which it reads in their order.
pub const EVENTS: &str = "events.out.tfevents.";
/// The texts generated.
pub const SAMPLES: &str = "samples";
