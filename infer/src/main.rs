//! Uses a trained BitNet: continues a prompt, describes the model, measures its loss over a text
//! and its speed, writes it for other programs.

mod args;
mod commands;
mod failure;
mod output;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::LazyLock,
};

use anyhow::{Context, anyhow};
use bitnet::{backend::BackendKind, packed::Isa};
use clap::{CommandFactory, Parser, Subcommand};
use command_line::{
    CompletionsArgs, ManArgs, catch_all_panics, check_threads, exit_on_cut_files,
    fail_on_full_files,
};

use commands::{BenchArgs, EvalArgs, ExportArgs, GenerateArgs, InfoArgs};

static VERSION: LazyLock<String> =
    LazyLock::new(|| command_line::version(BackendKind::compiled_in().map(BackendKind::name)));

/// Use a trained 1-bit or 1.58-bit transformer.
#[derive(Debug, Parser)]
#[command(version = VERSION.as_str(), arg_required_else_help = false)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Continue a prompt
    Generate(GenerateArgs),
    /// Describe a model: architecture, parameters, sizes, quantised layers
    Info(InfoArgs),
    /// Measure a model's loss over a text
    Eval(EvalArgs),
    /// Write a model in another form: for transformers, llama.cpp, bitnet.cpp, or packed
    Export(ExportArgs),
    /// Measure speed and memory with packed weights
    Bench(BenchArgs),
    /// Print the script with which a shell completes command lines
    Completions(CompletionsArgs),
    /// Print the manual page, in roff
    Man(ManArgs),
}

fn main() -> ExitCode {
    exit_on_cut_files();
    fail_on_full_files();
    let result = catch_all_panics(run).unwrap_or_else(|panic| Err(anyhow!(panic.report())));
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
        Err(error) if error.use_stderr() => return Err(anyhow!(command_line::one_line(&error))),
        Err(help) => return help.print().context(output::CANNOT_WRITE),
    };
    check_threads()?;
    Isa::limit()?;
    match args.command {
        Command::Generate(args) => args.run(),
        Command::Info(args) => args.run(),
        Command::Eval(args) => args.run(),
        Command::Export(args) => args.run(),
        Command::Bench(args) => args.run(),
        Command::Completions(args) => output::print(&args.script(Args::command())),
        Command::Man(args) => output::print(&args.page(Args::command())?),
    }
}
