//! The command line.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use crate::{
    backends,
    config::{self, Config, Overrides},
    run_folder::RunFolder,
    tokenizer::TokenizerArgs,
    training::{self, Options},
};

/// Train a 1-bit or 1.58-bit transformer on text.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration of a new run, or with --resume the one to go on with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Continue the run in this folder from its newest checkpoint
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Override a key, e.g. --set train.steps=200 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Train on this file, folder, pattern or named dataset instead (repeatable)
    #[arg(long, value_name = "SOURCE")]
    data: Vec<String>,
    /// Compute on this backend instead
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Folder of the new run [default: runs/NAME, after the configuration file]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Resume although the configuration or the text makes it another experiment
    #[arg(long, requires = "resume")]
    force_changes: bool,
    /// Stop after this step as if interrupted: save, and say how to go on
    #[arg(long, value_name = "STEP")]
    stop_at: Option<u64>,
    /// Print the whole configuration with every default and override, and stop; without a file,
    /// that of the defaults
    #[arg(long)]
    print_config: bool,
    /// Print plain lines even on a terminal, instead of the dashboard
    #[arg(long)]
    plain: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the backends, their devices, and whether these compute what the CPU does
    Backends,
    /// Train a byte-level BPE tokenizer on text, for data.tokenizer
    Tokenizer(TokenizerArgs),
}

/// Parses the command line and does what it says.
pub fn run() -> anyhow::Result<()> {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            bail!("{}; see --help", line.strip_prefix("error: ").unwrap_or(line));
        }
        Err(help) => {
            print!("{help}");
            return Ok(());
        }
    };
    match args.command {
        Some(Command::Backends) => {
            backends::list();
            return Ok(());
        }
        Some(Command::Tokenizer(args)) => return args.run(),
        None => {}
    }
    let overrides = Overrides { set: args.set, data: args.data, backend: args.backend };
    let options = Options { plain: args.plain, stop_at: args.stop_at };
    match (&args.config, &args.resume) {
        (Some(file), None) => {
            let config = config::load(file, &overrides)?;
            if args.print_config {
                return print(&config);
            }
            let out = match args.out {
                Some(out) => out,
                None => {
                    let name = file.file_stem().context("--config names no file")?;
                    PathBuf::from("runs").join(name)
                }
            };
            training::start(config, &out, options)
        }
        (file, Some(folder)) => {
            let config = match file {
                Some(file) => config::load(file, &overrides)?,
                None => overrides.apply_to(&RunFolder::read_config(folder)?)?,
            };
            if args.print_config {
                return print(&config);
            }
            training::resume(config, &RunFolder::open(folder)?, options, args.force_changes)
        }
        (None, None) if args.print_config => print(&overrides.apply_to(&Config::default())?),
        (None, None) => bail!("--config FILE or --resume DIR is needed; see --help"),
    }
}

fn print(config: &Config) -> anyhow::Result<()> {
    print!("{}", config::to_toml(config)?);
    Ok(())
}
