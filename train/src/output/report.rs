use std::sync::Arc;

use burn_train::{
    ItemLazy,
    metric::{
        Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
        NumericEntry, SerializedEntry,
    },
};

/// What is known after a log interval or a validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// Optimiser steps done.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds spent in training steps, in this session and the ones before it.
    pub seconds: f64,
    /// Mean loss, nats a token.
    pub loss: f64,
    /// The same in bits a byte.
    pub bits_per_byte: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Weight decay of the last step.
    pub weight_decay: f64,
    /// Norm of the last step's gradient, before clipping.
    pub gradient_norm: f64,
    /// Training speed over the interval.
    pub tokens_per_second: f64,
}

impl Report {
    /// A report of nothing.
    pub const EMPTY: Self = Self {
        step: 0,
        tokens: 0,
        seconds: 0.0,
        loss: f64::NAN,
        bits_per_byte: f64::NAN,
        learning_rate: f64::NAN,
        weight_decay: f64::NAN,
        gradient_norm: f64::NAN,
        tokens_per_second: f64::NAN,
    };
}

impl ItemLazy for Report {
    type ItemSync = Self;

    fn sync(self) -> Self {
        self
    }
}

impl Adaptor<Self> for Report {
    fn adapt(&self) -> Self {
        *self
    }
}

/// A value of a [`Report`] that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// [`Report::loss`]
    Loss,
    /// [`Report::bits_per_byte`]
    BitsPerByte,
    /// [`Report::learning_rate`]
    LearningRate,
    /// [`Report::gradient_norm`]
    GradientNorm,
    /// [`Report::tokens_per_second`]
    TokensPerSecond,
}

impl Field {
    /// All fields, in the order they are shown.
    pub const ALL: [Self; 5] = [
        Self::Loss,
        Self::BitsPerByte,
        Self::LearningRate,
        Self::GradientNorm,
        Self::TokensPerSecond,
    ];

    /// The name on the dashboard.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "Loss",
            Self::BitsPerByte => "Bits per byte",
            Self::LearningRate => "Learning rate",
            Self::GradientNorm => "Gradient norm",
            Self::TokensPerSecond => "Tokens per second",
        }
    }

    fn of(self, report: &Report) -> f64 {
        match self {
            Self::Loss => report.loss,
            Self::BitsPerByte => report.bits_per_byte,
            Self::LearningRate => report.learning_rate,
            Self::GradientNorm => report.gradient_norm,
            Self::TokensPerSecond => report.tokens_per_second,
        }
    }

    /// The value as it is shown.
    pub fn format(self, value: f64) -> String {
        match self {
            Self::Loss | Self::BitsPerByte => format!("{value:.4}"),
            Self::LearningRate => format!("{value:.2e}"),
            Self::GradientNorm => format!("{value:.3}"),
            Self::TokensPerSecond => format!("{value:.0}"),
        }
    }
}

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
        let higher_is_better = self.field == Field::TokensPerSecond;
        NumericAttributes { unit: None, higher_is_better }.into()
    }

    fn update(&mut self, report: &Report, _metadata: &MetricMetadata) -> SerializedEntry {
        self.value = self.field.of(report);
        SerializedEntry::new(self.field.format(self.value), self.value.to_string())
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
