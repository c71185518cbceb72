use std::sync::Arc;

use burn_train::{
    ItemLazy,
    metric::{
        Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
        NumericEntry, SerializedEntry,
    },
};

use super::Quantization;

/// What is known after a log interval or a validation.
#[derive(Debug, Clone, PartialEq)]
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
    /// The instruments, of all quantised linears together.
    pub quantization: Quantization,
    /// The same of each block.
    pub blocks: Vec<Quantization>,
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
        quantization: Quantization::EMPTY,
        blocks: Vec::new(),
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
        self.clone()
    }
}

/// What stands between the value of all linears and those of the blocks.
const BY_BLOCK: &str = ", by block: ";

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
    /// [`Quantization::zeros`]
    Zeros,
    /// [`Quantization::flip_rate`]
    FlipRate,
    /// [`Quantization::scale`]
    Scale,
    /// [`Quantization::near_threshold`]
    NearThreshold,
    /// [`Quantization::saturated`]
    Saturated,
}

impl Field {
    /// Those of a loss, of training and validation.
    pub const LOSS: [Self; 3] = [Self::Loss, Self::BitsPerByte, Self::Perplexity];
    /// Those of every run that are looked at most.
    pub const FIRST: [Self; 4] =
        [Self::Loss, Self::BitsPerByte, Self::TokensPerSecond, Self::TimeLeft];
    /// The others of every run.
    pub const REST: [Self; 6] = [
        Self::Perplexity,
        Self::LearningRate,
        Self::WeightDecay,
        Self::GradientNorm,
        Self::Memory,
        Self::TokensLeft,
    ];
    /// Those of quantised weights.
    pub const QUANTIZATION: [Self; 5] =
        [Self::Zeros, Self::FlipRate, Self::Scale, Self::NearThreshold, Self::Saturated];

    /// The field of this name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [&Self::FIRST[..], &Self::QUANTIZATION, &Self::REST, &[Self::Utilization]];
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

    /// The value in a report.
    pub fn of(self, report: &Report) -> f64 {
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
            _ => self.of_quantization(&report.quantization).unwrap_or(f64::NAN),
        }
    }

    /// The value of an instrument, if it is one.
    fn of_quantization(self, quantization: &Quantization) -> Option<f64> {
        match self {
            Self::Zeros => Some(quantization.zeros),
            Self::FlipRate => Some(quantization.flip_rate),
            Self::Scale => Some(quantization.scale),
            Self::NearThreshold => Some(quantization.near_threshold),
            Self::Saturated => Some(quantization.saturated),
            _ => None,
        }
    }

    /// The value of a report as the dashboard shows it: where it is an instrument, that of all
    /// linears together, then that of each block.
    pub fn show(self, report: &Report) -> String {
        let blocks = report.blocks.iter().filter_map(|block| self.of_quantization(block));
        let blocks: Vec<String> = blocks.map(|value| self.format(value)).collect();
        let total = self.format(self.of(report));
        if blocks.is_empty() { total } else { total + BY_BLOCK + &blocks.join(" ") }
    }

    /// Takes what [`Field::show`] made apart: the value, and that of each block.
    pub fn parts(shown: &str) -> (&str, Vec<&str>) {
        match shown.split_once(BY_BLOCK) {
            Some((total, blocks)) => (total, blocks.split(' ').collect()),
            None => (shown, Vec::new()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruments_are_shown_of_all_and_by_block() {
        let block = |zeros: f64| Quantization { zeros, ..Quantization::EMPTY };
        let mut report = Report { quantization: block(0.25), ..Report::EMPTY };
        assert_eq!(Field::Zeros.show(&report), "0.250");
        report.blocks = vec![block(0.2), block(0.3)];
        assert_eq!(Field::Zeros.show(&report), "0.250, by block: 0.200 0.300");
        assert_eq!(Field::parts("0.250, by block: 0.200 0.300"), ("0.250", vec!["0.200", "0.300"]));
        assert_eq!(Field::parts("0.250"), ("0.250", vec![]));
        report.loss = 1.5;
        assert_eq!(Field::Loss.show(&report), "1.5000");
    }
}
