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

/// Writes a page about `runs` to `out`, where an earlier one may be.
///
/// # Errors
/// If a run has no metrics, a file of it is damaged, or the page cannot be written.
pub fn write(runs: &[PathBuf], out: &Path, force: bool) -> anyhow::Result<()> {
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
