//! Trains a BitNet from a configuration file.

#![recursion_limit = "256"]

mod cli;
mod config;
mod output;
mod run_folder;
mod training;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
