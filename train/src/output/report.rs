use burn_train::{ItemLazy, metric::Adaptor};

use super::Quantization;

/// Which text a value is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// The text that is trained on.
    Training,
    /// The text that is held out.
    Validation,
}

/// What is known after a log interval or a validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Optimiser steps done.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds spent in training steps, in this session and the ones before it.
    pub seconds: f64,
    /// Mean loss, nats per token.
    pub loss: f64,
    /// The same in bits per byte.
    pub bits_per_byte: f64,
    /// Validation loss of the moving average of the weights; NaN if there is none.
    pub ema_loss: f64,
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
    /// Statistics of all quantised linears together.
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
        ema_loss: f64::NAN,
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
