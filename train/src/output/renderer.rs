use std::collections::HashMap;

use burn_train::{
    LearnerSummary,
    metric::{MetricDefinition, MetricId},
    renderer::{
        EvaluationName, EvaluationProgress, MetricState, MetricsRenderer,
        MetricsRendererEvaluation, MetricsRendererTraining, ProgressType, TrainingProgress,
    },
};

use super::{Field, Split};

/// Is shown the reports of a run.
pub trait ReportView: Send + Sync {
    /// Takes a value of the report to come, with its text ([`Field::show`]).
    fn take(&mut self, split: Split, field: Field, value: f64, text: &str);

    /// The report of `step` is whole.
    fn show(&mut self, split: Split, step: u64);

    /// The training is over.
    fn end(&mut self) {}
}

/// Hands a run's reports from burn-train's metrics to a [`ReportView`]. (burn-train's own renderers
/// count log lines, validations and micro-batches where this project counts steps.)
pub struct ReportRenderer {
    view: Box<dyn ReportView>,
    /// Fields by the ids that burn-train gave their metrics.
    fields: HashMap<MetricId, Field>,
}

impl ReportRenderer {
    /// A renderer for `view`.
    pub fn new(view: Box<dyn ReportView>) -> Self {
        Self { view, fields: HashMap::new() }
    }

    fn update(&mut self, split: Split, state: MetricState) {
        let MetricState::Numeric(entry, value) = state else { return };
        if let Some(&field) = self.fields.get(&entry.metric_id) {
            self.view.take(split, field, value.current(), &entry.serialized_entry.formatted);
        }
    }
}

impl MetricsRendererTraining for ReportRenderer {
    fn update_train(&mut self, state: MetricState) {
        self.update(Split::Training, state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.update(Split::Validation, state);
    }

    fn render_train(&mut self, item: TrainingProgress, _indicators: Vec<ProgressType>) {
        self.view.show(Split::Training, item.iteration.unwrap_or_default() as u64);
    }

    fn render_valid(&mut self, item: TrainingProgress, _indicators: Vec<ProgressType>) {
        self.view.show(Split::Validation, item.iteration.unwrap_or_default() as u64);
    }

    fn on_train_end(
        &mut self,
        _summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        self.view.end();
        Ok(())
    }
}

impl MetricsRendererEvaluation for ReportRenderer {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _indicators: Vec<ProgressType>) {}
}

impl MetricsRenderer for ReportRenderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        if let Some(field) = Field::named(&definition.name) {
            self.fields.insert(definition.metric_id, field);
        }
    }
}
