//! The command line.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
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
    backends,
    bench::BenchArgs,
    config::{self, Config, Overrides},
    lr_find::{Grid, Sweep},
    report,
    run_folder::RunFolder,
    tokenizer::TokenizerArgs,
    training::{self, Options, Rates},
    twin::{Twin, Variant},
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

#[derive(Debug, clap::Args)]
struct OverrideArgs {
    /// Override a key, e.g. --set train.steps=200 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Train on this file, folder, pattern or named dataset instead (repeatable)
    #[arg(long, value_name = "SOURCE")]
    data: Vec<String>,
    /// Compute on this backend instead
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Compute on this device of the backend, by number or name; `train backends` lists them
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Begin with the weights of this model instead of random ones
    #[arg(long, value_name = "PATH")]
    init_from: Option<String>,
}

impl From<OverrideArgs> for Overrides {
    fn from(OverrideArgs { set, data, backend, device, init_from }: OverrideArgs) -> Self {
        Self { set, data, backend, device, init_from }
    }
}

#[derive(Debug, clap::Args)]
struct SessionArgs {
    /// Stop after this step as if interrupted: save, and say how to go on
    #[arg(long, value_name = "STEP")]
    stop_at: Option<u64>,
    /// Print plain lines even on a terminal, instead of the dashboard
    #[arg(long)]
    plain: bool,
}

impl From<SessionArgs> for Options {
    fn from(SessionArgs { stop_at, plain }: SessionArgs) -> Self {
        Self { plain, stop_at, in_series: false, rates: Rates::default() }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the backends, their devices, and whether these compute what the CPU does
    Backends,
    /// Measure how fast a configuration trains, on random bytes
    Bench(BenchArgs),
    /// Write a page that compares runs: one HTML file that holds all it shows
    Report {
        /// Folders of runs, ended or not
        #[arg(required = true, value_name = "RUN")]
        runs: Vec<PathBuf>,
        /// Output file
        #[arg(long, value_name = "FILE", default_value = "report.html")]
        out: PathBuf,
        /// Replace a file that is no earlier report
        #[arg(long)]
        force: bool,
    },
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

/// Steps of a short run that tries a learning rate.
const TUNING_STEPS: u64 = 200;

#[derive(Debug, clap::Args)]
struct TwinArgs {
    /// Configuration of the models
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Train the binary model, too
    #[arg(long)]
    binary: bool,
    /// Train the ternary model of twice the width, too
    #[arg(long)]
    double: bool,
    /// Seeds of the runs of each model [default: that of the configuration]
    #[arg(long, value_name = "SEED,...", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// First find a rate for each model, with short runs at a quarter, a half, one and two times
    /// its own
    #[arg(long)]
    tune: bool,
    /// Steps of those short runs
    #[arg(long, value_name = "STEPS", default_value_t = TUNING_STEPS, requires = "tune",
          value_parser = clap::value_parser!(u64).range(10..))]
    tune_steps: u64,
    /// Folder of all runs [default: runs/NAME-twin, after the configuration file]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    session: SessionArgs,
}

impl TwinArgs {
    fn run(self) -> anyhow::Result<()> {
        let config = config::load(&self.config, &self.overrides.into())?;
        let out = match self.out {
            Some(out) => out,
            None => default_out(&self.config, "-twin")?,
        };
        let mut variants = vec![Variant::Ternary, Variant::FullPrecision];
        variants.extend(self.binary.then_some(Variant::Binary));
        variants.extend(self.double.then_some(Variant::Double));
        let mut seeds = if self.seeds.is_empty() { vec![config.seed] } else { self.seeds };
        seeds.sort();
        seeds.dedup();
        let tuning = self.tune.then_some(self.tune_steps);
        let twin = Twin { config: &config, variants: &variants, seeds: &seeds, tuning };
        twin.run(&out, self.session.into())
    }
}

#[derive(Debug, clap::Args)]
struct LrFindArgs {
    /// Configuration of the model
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// Compare short runs at these rates by their validation loss, e.g. 1e-3,2e-3,4e-3
    #[arg(long, value_name = "LR,...", value_delimiter = ',', conflicts_with_all = ["from", "to"])]
    grid: Vec<f64>,
    /// Steps of a run [default: 300, with --grid 200]
    #[arg(long, value_parser = clap::value_parser!(u64).range(10..))]
    steps: Option<u64>,
    /// The first rate
    #[arg(long, value_name = "LR", default_value_t = 1e-5)]
    from: f64,
    /// The last rate
    #[arg(long, value_name = "LR", default_value_t = 1.0)]
    to: f64,
    /// Folder of the runs [default: runs/NAME-lr-find, after the configuration file]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    session: SessionArgs,
}

impl LrFindArgs {
    fn run(self) -> anyhow::Result<()> {
        let config = &config::load(&self.config, &self.overrides.into())?;
        let out = match self.out {
            Some(out) => out,
            None => default_out(&self.config, "-lr-find")?,
        };
        let options = self.session.into();
        if self.grid.is_empty() {
            let steps = self.steps.unwrap_or(300);
            return Sweep { config, from: self.from, to: self.to, steps }.run(&out, options);
        }
        let steps = self.steps.unwrap_or(TUNING_STEPS);
        Grid { config, rates: &self.grid, steps }.run(&out, options)?;
        Ok(())
    }
}

/// `runs/NAME` with a suffix, after the configuration file.
fn default_out(config: &Path, suffix: &str) -> anyhow::Result<PathBuf> {
    let mut name = config.file_stem().context("--config names no file")?.to_owned();
    name.push(suffix);
    Ok(PathBuf::from("runs").join(name))
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
        Some(Command::Report { runs, out, force }) => return report::write(&runs, &out, force),
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
