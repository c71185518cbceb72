//! The command line.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::LazyLock,
};

use anyhow::{Context, bail, ensure};
use bitnet::{backend::BackendKind, packed::Isa};
use clap::{
    CommandFactory, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use command_line::{CompletionsArgs, ManArgs, check_threads};

use crate::{
    commands::{
        BenchArgs, LrFindArgs, OverrideArgs, ReportArgs, SessionArgs, TokenizerArgs, TwinArgs,
        backends, default_out,
    },
    config::{self, Config, Overrides},
    run_folder::RunFolder,
    training::{self, Options},
};

static VERSION: LazyLock<String> =
    LazyLock::new(|| command_line::version(BackendKind::compiled_in().map(BackendKind::name)));

/// Train a 1-bit or 1.58-bit transformer on text.
#[derive(Debug, Parser)]
#[command(version = VERSION.as_str(), args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration of a new run, or with --resume the one to go on with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Continue the run in this folder from its newest checkpoint
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Folder of the new run [default: runs/NAME, after the configuration file]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Resume although the configuration or the text makes it another experiment
    #[arg(long, requires = "resume")]
    force_changes: bool,
    #[command(flatten)]
    session: SessionArgs,
    /// Print the whole configuration with every default and override, and stop; without a file,
    /// that of the defaults
    #[arg(long)]
    print_config: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the backends, their devices, and whether these compute what the CPU does
    Backends,
    /// Measure how fast a configuration trains, on random bytes
    Bench(BenchArgs),
    /// Write a page that compares runs: one HTML file that holds all it shows
    Report(ReportArgs),
    /// Train the ternary model of a configuration and its full-precision twin, and compare them;
    /// the same command goes on where it was stopped
    Twin(TwinArgs),
    /// Find a learning rate: one run in which it rises, or with --grid a short run at each of
    /// some; the same command goes on where it was stopped
    LrFind(LrFindArgs),
    /// Train a byte-level BPE tokenizer on text, for data.tokenizer
    Tokenizer(TokenizerArgs),
    /// Print the script with which a shell completes command lines
    Completions(CompletionsArgs),
    /// Print the manual page, in roff
    Man(ManArgs),
}

/// Parses the command line and does what it says.
pub fn run() -> anyhow::Result<()> {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            bail!(command_line::one_line(&with_key_tip(error, std::env::args().collect())));
        }
        Err(help) => {
            let _ = help.print();
            return Ok(());
        }
    };
    check_threads()?;
    Isa::limit()?;
    match args.command {
        Some(Command::Backends) => {
            backends::list();
            return Ok(());
        }
        Some(Command::Bench(args)) => return args.run(),
        Some(Command::Report(args)) => return args.run(),
        Some(Command::Twin(args)) => return args.run(),
        Some(Command::LrFind(args)) => return args.run(),
        Some(Command::Tokenizer(args)) => return args.run(),
        Some(Command::Completions(args)) => {
            return print(&args.script(Args::command()));
        }
        Some(Command::Man(args)) => {
            return print(&args.page(Args::command())?);
        }
        None => {}
    }
    let overrides = Overrides::from(args.overrides);
    let options = Options::from(args.session);
    match (&args.config, &args.resume) {
        (Some(file), None) => {
            let config = config::load(file, &overrides)?;
            if args.print_config {
                return print_config(&config);
            }
            let out = match args.out {
                Some(out) => out,
                None => default_out(file, "")?,
            };
            training::start(config, &out, options)?;
            Ok(())
        }
        (file, Some(folder)) => {
            ensure!(
                overrides.init_from.is_none(),
                "--init-from is for the beginning of a run; a resumed one has its own weights"
            );
            let config = match file {
                Some(file) => config::load(file, &overrides)?,
                None => overrides.apply_to(&RunFolder::read_config(folder)?)?,
            };
            if args.print_config {
                return print_config(&config);
            }
            training::resume(config, &RunFolder::open(folder)?, options, args.force_changes)?;
            Ok(())
        }
        (None, None) if args.print_config => print_config(&overrides.apply_to(&Config::default())?),
        (None, None) => bail!("--config FILE or --resume DIR is needed; see --help"),
    }
}

/// An error of an argument that is none, with the keys of a configuration that are called so as its
/// tip.
fn with_key_tip(mut error: clap::Error, args: Vec<String>) -> clap::Error {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let flag = argument.split('=').next().unwrap_or_default();
    let keys = config::keys_named(&flag.trim_start_matches('-').replace('-', "_"));
    if error.kind() != ErrorKind::UnknownArgument || !flag.starts_with("--") || keys.is_empty() {
        return error;
    }
    let mut typed = args.iter().skip_while(|arg| arg.split('=').next() != Some(flag));
    let value = typed.next().and_then(|arg| match arg.split_once('=') {
        Some((_, value)) => Some(value),
        None => typed.next().map(String::as_str).filter(|value| !value.starts_with("--")),
    });
    let value = value.unwrap_or("VALUE");
    let set = keys.iter().map(|key| format!("--set {key}={value}")).collect::<Vec<_>>();
    let tip = format!("that key is set by {}", set.join(" or "));
    error.remove(ContextKind::SuggestedArg);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

fn print_config(config: &Config) -> anyhow::Result<()> {
    print(&config::to_toml(config)?)
}

/// Prints what somebody may keep in a file: a part of it would be mistaken for the whole.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}
