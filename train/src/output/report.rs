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
    /// The same as a share of what the device could do; NaN, as all below, if not measured.
    pub utilization: f64,
    /// Main memory that the process holds.
    pub resident_bytes: f64,
    /// Tokens still to be trained on.
    pub tokens_left: f64,
    /// Seconds that the steps left take at the speed of the interval.
    pub seconds_left: f64,
    /// Share of the quantised weights that are 0.
    pub zeros: f64,
    /// Share of them whose code changed in the interval, for each of its steps.
    pub flip_rate: f64,
    /// Mean scale γ.
    pub scale: f64,
    /// Share of the latent weights near a rounding threshold.
    pub near_threshold: f64,
    /// Share of the activations' codes at ±127.
    pub saturated: f64,
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
        utilization: f64::NAN,
        resident_bytes: f64::NAN,
        tokens_left: f64::NAN,
        seconds_left: f64::NAN,
        zeros: f64::NAN,
        flip_rate: f64::NAN,
        scale: f64::NAN,
        near_threshold: f64::NAN,
        saturated: f64::NAN,
    };
}

/// A value of a [`Report`], unless it was not measured.
pub(super) fn measured(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
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
    /// `exp` of [`Report::loss`]
    Perplexity,
    /// [`Report::learning_rate`]
    LearningRate,
    /// [`Report::weight_decay`]
    WeightDecay,
    /// [`Report::gradient_norm`]
    GradientNorm,
    /// [`Report::tokens_per_second`]
    TokensPerSecond,
    /// [`Report::utilization`]
    Utilization,
    /// [`Report::resident_bytes`]
    Memory,
    /// [`Report::tokens_left`]
    TokensLeft,
    /// [`Report::seconds_left`]
    TimeLeft,
    /// [`Report::zeros`]
    Zeros,
    /// [`Report::flip_rate`]
    FlipRate,
    /// [`Report::scale`]
    Scale,
    /// [`Report::near_threshold`]
    NearThreshold,
    /// [`Report::saturated`]
    Saturated,
}

impl Field {
    /// Those of a loss, of training and validation.
    pub const LOSS: [Self; 3] = [Self::Loss, Self::BitsPerByte, Self::Perplexity];
    /// Those of every training run.
    pub const TRAINING: [Self; 7] = [
        Self::LearningRate,
        Self::WeightDecay,
        Self::GradientNorm,
        Self::TokensPerSecond,
        Self::Memory,
        Self::TokensLeft,
        Self::TimeLeft,
    ];
    /// Those of quantised weights.
    pub const QUANTIZATION: [Self; 5] =
        [Self::Zeros, Self::FlipRate, Self::Scale, Self::NearThreshold, Self::Saturated];

    /// The field of this name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [&Self::LOSS[..], &Self::TRAINING, &[Self::Utilization], &Self::QUANTIZATION];
        all.concat().into_iter().find(|field| field.name() == name)
    }

    /// The name on the dashboard.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "Loss",
            Self::BitsPerByte => "Bits per byte",
            Self::Perplexity => "Perplexity",
            Self::LearningRate => "Learning rate",
            Self::WeightDecay => "Weight decay",
            Self::GradientNorm => "Gradient norm",
            Self::TokensPerSecond => "Tokens per second",
            Self::Utilization => "FLOPs utilization",
            Self::Memory => "Memory (MiB)",
            Self::TokensLeft => "Tokens left",
            Self::TimeLeft => "Minutes left",
            Self::Zeros => "Zeros",
            Self::FlipRate => "Flips per step",
            Self::Scale => "Weight scale",
            Self::NearThreshold => "Near threshold",
            Self::Saturated => "Saturated inputs",
        }
    }

    fn of(self, report: &Report) -> f64 {
        match self {
            Self::Loss => report.loss,
            Self::BitsPerByte => report.bits_per_byte,
            Self::Perplexity => report.loss.exp(),
            Self::LearningRate => report.learning_rate,
            Self::WeightDecay => report.weight_decay,
            Self::GradientNorm => report.gradient_norm,
            Self::TokensPerSecond => report.tokens_per_second,
            Self::Utilization => report.utilization,
            Self::Memory => report.resident_bytes / f64::from(1 << 20),
            Self::TokensLeft => report.tokens_left,
            Self::TimeLeft => report.seconds_left / 60.0,
            Self::Zeros => report.zeros,
            Self::FlipRate => report.flip_rate,
            Self::Scale => report.scale,
            Self::NearThreshold => report.near_threshold,
            Self::Saturated => report.saturated,
        }
    }

    /// The value as it is shown.
    pub fn format(self, value: f64) -> String {
        match self {
            Self::Loss | Self::BitsPerByte => format!("{value:.4}"),
            Self::Perplexity => format!("{value:.2}"),
            Self::LearningRate | Self::FlipRate => format!("{value:.2e}"),
            Self::WeightDecay => format!("{value}"),
            Self::GradientNorm | Self::Zeros | Self::NearThreshold => format!("{value:.3}"),
            Self::Scale | Self::Saturated => format!("{value:.4}"),
            Self::TokensPerSecond | Self::Memory | Self::TokensLeft => format!("{value:.0}"),
            Self::TimeLeft => format!("{value:.1}"),
            Self::Utilization => format!("{:.1} %", 100.0 * value),
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
        let higher_is_better = matches!(self.field, Field::TokensPerSecond | Field::Utilization);
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
