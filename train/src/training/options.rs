use super::learner::scheduler::Rates;

/// What the command line says about a session, rather than about the run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Plain lines even on a terminal.
    pub plain: bool,
    /// The step after which the session stops as if interrupted.
    pub stop_at: Option<u64>,
    /// One of several runs: whoever makes them says how they go on.
    pub in_series: bool,
    /// Which learning rates the run has. A resumed run has those that it began with.
    pub rates: Rates,
}
