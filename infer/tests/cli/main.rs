//! Tests of the program, run as a program.

#![allow(clippy::unwrap_used, reason = "a failed test is what a failed unwrap should be")]

mod bench;
mod chat;
mod common;
mod eval;
mod export;
mod failures;
mod generate;
mod info;
mod library;
#[cfg(unix)]
mod odd_files;
#[cfg(unix)]
mod outputs;
mod packed;
#[cfg(unix)]
#[path = "../../../tests/places.rs"]
mod places;
mod shell;
mod streams;
mod subword;
