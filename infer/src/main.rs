//! Uses a trained BitNet: continues a prompt, describes the model, measures its loss over a text
//! and its speed, writes it for other programs.

mod backend;
mod bench;
mod chat;
mod eval;
mod export;
mod failure;
mod generate;
mod info;
mod memory;
mod model;
mod output;
mod packing;
mod sampling;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, anyhow};
use bitnet::{backend::catch_all_panics, packed::Isa};
use clap::{Parser, Subcommand};

/// Use a trained 1-bit or 1.58-bit transformer.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = false)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Continue a prompt
    Generate(generate::GenerateArgs),
    /// Describe a model: architecture, parameters, sizes, quantised layers
    Info(info::InfoArgs),
    /// Measure a model's loss over a text
    Eval(eval::EvalArgs),
    /// Write a model for other programs: transformers, llama.cpp, bitnet.cpp
    Export(export::ExportArgs),
    /// Measure speed and memory with packed weights
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let result = catch_all_panics(run).unwrap_or_else(|panic| match panic.is_out_of_memory() {
        true => Err(anyhow!("out of memory: {panic}")),
        false => Err(anyhow!("the computation failed: {panic}")),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader, `head` for one, has seen enough.
        Err(error) if failure::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Not `eprintln!`, which panics where standard error is closed.
            let _ = writeln!(io::stderr(), "{}", failure::line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => return Err(failure::usage(&error)),
        Err(help) => return help.print().context(output::CANNOT_WRITE),
    };
    Isa::limit()?;
    match args.command {
        Command::Generate(args) => args.run(),
        Command::Info(args) => args.run(),
        Command::Eval(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Bench(args) => args.run(),
    }
}
