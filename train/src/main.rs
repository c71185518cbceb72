//! Trains a BitNet from a configuration file.

#![recursion_limit = "256"]

#[macro_use]
mod say;

mod allocator;
mod cli;
mod commands;
mod config;
mod dashboard;
mod interrupt;
mod output;
mod run_folder;
mod terminal;
mod training;

use std::process::ExitCode;

use command_line::{catch_all_panics, exit_on_cut_files, fail_on_full_files};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    terminal::restore_on_fatal_signals();
    exit_on_cut_files();
    fail_on_full_files();
    match catch_all_panics(cli::run) {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(error)) => note!("error: {error:#}"),
        Err(panic) if panic.is_out_of_memory() => {
            note!("error: {}; a smaller train.batch or model may fit", panic.report());
        }
        Err(panic) => note!("error: {}", panic.report()),
    }
    ExitCode::FAILURE
}
