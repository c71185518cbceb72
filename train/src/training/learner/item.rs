use burn_train::ItemLazy;

use crate::output::Report;

/// What a step returns to the loop, and what the loop passes on to the metrics: burn-train has one
/// type for both.
pub struct Item<T> {
    /// The result of the step.
    pub value: T,
    /// Filled in by the loop, when it has something to report.
    pub report: Option<Report>,
}

impl<T> Item<T> {
    /// The result of a step.
    pub fn new(value: T) -> Self {
        Self { value, report: None }
    }
}

impl<T: Send> ItemLazy for Item<T> {
    type ItemSync = Report;

    fn sync(self) -> Report {
        self.report.unwrap_or(Report::EMPTY)
    }
}
