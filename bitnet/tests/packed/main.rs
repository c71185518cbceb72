//! Tests of packed weights, from outside.

#![allow(clippy::unwrap_used, reason = "a failed test is what a failed unwrap should be")]
#![allow(dead_code, reason = "`common` is made for more")]

mod checkpoints;
#[path = "../library/common.rs"]
mod common;
mod engine;
mod exact;
mod export;
mod file;
mod fixtures;
mod layers;
mod reader;
