//! Tests of the program, run as a program.

#![allow(clippy::unwrap_used, reason = "a failed test is what a failed unwrap should be")]

mod backends;
mod bad_input;
mod common;
mod data;
mod durable;
#[cfg(unix)]
mod ends;
#[cfg(unix)]
mod foreign;
mod full_disk;
mod kills;
mod lr_find;
#[cfg(unix)]
mod outputs;
#[cfg(unix)]
#[path = "../../../tests/places.rs"]
mod places;
mod recipe;
mod report;
mod run;
#[path = "../../../tests/shell.rs"]
mod shell;
#[cfg(unix)]
mod terminal;
mod twin;
mod visible;

/// What is tested.
const PROGRAM: shell::Program =
    shell::Program { path: env!("CARGO_BIN_EXE_train"), name: "train", command: "lr-find" };
