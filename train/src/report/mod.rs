//! `train report`: a page that compares runs. It holds everything it shows, and loads nothing.

mod page;
mod run;
mod series;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use self::run::RunData;

/// Writes a page about `runs` to `out`.
///
/// # Errors
/// If a run has no metrics, a file of it is damaged, or the page cannot be written.
pub fn write(runs: &[PathBuf], out: &Path) -> anyhow::Result<()> {
    let mut read = runs.iter().map(|run| RunData::read(run)).collect::<anyhow::Result<Vec<_>>>()?;
    run::tell_apart(&mut read, runs);
    let html = page::render(&read)?;
    // Not by way of a temporary file, which nobody else may read: pages are made to be passed on.
    fs::write(out, html).with_context(|| format!("cannot write {}", out.display()))?;
    let count = read.len();
    say!("{}: {count} run{}", out.display(), if count == 1 { "" } else { "s" });
    Ok(())
}
