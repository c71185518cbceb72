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
#[path = "../../../tests/shell.rs"]
mod shell;
mod streams;
mod subword;

/// What is tested.
const PROGRAM: shell::Program =
    shell::Program { path: env!("CARGO_BIN_EXE_infer"), name: "infer", command: "generate" };
