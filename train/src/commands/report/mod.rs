//! `train report`: a page that compares runs. It holds everything it shows, and loads nothing.

mod page;
mod run;
mod series;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use bitnet::storage::{Output, Product};

use self::run::RunData;

/// A page that was written here.
const PAGE: Product = Product { reason: "is no earlier report", is_one: page::is_one };

/// Which runs to compare, and where.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Folders of runs, ended or not
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Output file
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Replace a file that is no earlier report
    #[arg(long)]
    force: bool,
}

impl ReportArgs {
    /// Writes the page, where an earlier one may be.
    ///
    /// # Errors
    /// If a run has no metrics, a file of it is damaged, or the page cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        write(&self.runs, &self.out, self.force)
    }
}

fn write(runs: &[PathBuf], out: &Path, force: bool) -> anyhow::Result<()> {
    let cannot_write = || format!("cannot write {}", out.display());
    let to = Output::new(out).reading(runs).forced(force);
    to.check_file(&PAGE).with_context(cannot_write)?;
    let mut read = runs.iter().map(|run| RunData::read(run)).collect::<anyhow::Result<Vec<_>>>()?;
    run::tell_apart(&mut read, runs);
    let html = page::render(&read)?;
    to.write_file(&PAGE, |file| file.write_all(html.as_bytes())).with_context(cannot_write)?;
    let count = read.len();
    say!("{}: {count} run{}", out.display(), if count == 1 { "" } else { "s" });
    Ok(())
}
