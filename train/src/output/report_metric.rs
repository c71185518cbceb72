use std::sync::Arc;

use burn_train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

use super::{Field, Report};

/// Shows one field of the reports through burn-train's metrics.
#[derive(Debug, Clone)]
pub struct ReportMetric {
    field: Field,
    value: f64,
}

impl ReportMetric {
    /// A metric for `field`.
    pub fn new(field: Field) -> Self {
        Self { field, value: f64::NAN }
    }
}

impl Metric for ReportMetric {
    type Input = Report;

    fn name(&self) -> MetricName {
        Arc::new(self.field.name().into())
    }

    fn attributes(&self) -> MetricAttributes {
        let higher_is_better = matches!(self.field, Field::TokensPerSecond | Field::Utilization);
        NumericAttributes { unit: None, higher_is_better }.into()
    }

    fn update(&mut self, report: &Report, _metadata: &MetricMetadata) -> SerializedEntry {
        self.value = self.field.of(report);
        SerializedEntry::new(self.field.show(report), self.value.to_string())
    }

    fn clear(&mut self) {}
}

impl Numeric for ReportMetric {
    fn value(&self) -> NumericEntry {
        NumericEntry::Value(self.value)
    }

    fn running_value(&self) -> NumericEntry {
        NumericEntry::Value(self.value)
    }
}
