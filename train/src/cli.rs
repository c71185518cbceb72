//! The command line.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use crate::{
    backends,
    config::{self, Config, Overrides},
    run_folder::RunFolder,
    training,
};

/// Train a 1-bit or 1.58-bit transformer on text.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration of a new run
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Continue the run in this folder from its newest checkpoint
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Override a key, e.g. --set train.steps=200 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Train on this file, folder or named dataset instead (repeatable)
    #[arg(long, value_name = "SOURCE")]
    data: Vec<String>,
    /// Compute on this backend instead
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Folder of the new run [default: runs/NAME, after the configuration file]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
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
    if let Some(Command::Backends) = args.command {
        backends::list();
        return Ok(());
    }
    let overrides = Overrides { set: args.set, data: args.data, backend: args.backend };
    match (&args.config, &args.resume) {
        (Some(file), _) => {
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
            training::start(&config, &out, args.plain)
        }
        (None, Some(folder)) => {
            let folder = RunFolder::open(folder)?;
            let old = folder.config()?;
            let config = overrides.apply_to(&old)?;
            if args.print_config {
                return print(&config);
            }
            check_resumable(&old, &config)?;
            training::resume(&config, &folder, args.plain)
        }
        (None, None) if args.print_config => print(&overrides.apply_to(&Config::default())?),
        (None, None) => bail!("--config FILE or --resume DIR is needed; see --help"),
    }
}

fn print(config: &Config) -> anyhow::Result<()> {
    print!("{}", config::to_toml(config)?);
    Ok(())
}

/// Keys that a resumed run cannot change: the saved state would not fit, or the run would be
/// another experiment under the old name.
fn check_resumable(old: &Config, new: &Config) -> anyhow::Result<()> {
    const FIXED: [&str; 5] = ["model.", "data.", "seed", "train.batch", "train.accumulation"];
    let changed = config::differing_keys(old, new)?;
    let refused: Vec<&str> = changed
        .iter()
        .filter(|key| FIXED.iter().any(|fixed| key.starts_with(fixed)))
        .map(String::as_str)
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    bail!("a resumed run cannot change {}; start a new run instead", refused.join(", "))
}
