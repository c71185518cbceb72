//! Tests of the library from outside, each for every backend.

#![allow(clippy::unwrap_used, reason = "a failed test is what a failed unwrap should be")]

mod bit_linear;
mod chat;
mod common;
mod datasets;
mod distillation_and_average;
mod flex_equals_composed;
mod generate;
mod golden_bit_linear;
mod golden_muon;
mod golden_transformer;
mod model;
mod optim;
#[cfg(feature = "ndarray")]
mod parity;
mod peers;
mod pretrained;
mod properties;
mod quant_stats;
mod schedules;
mod settings;
mod sources;
mod tokens;
mod training;
