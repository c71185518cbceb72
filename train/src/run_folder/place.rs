//! What is at a path where a run is, or is to be.

use std::{
    fs::{self, DirEntry},
    path::{self, Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use bitnet::storage::{self, Kind, read_own};

use super::names::{CHECKPOINTS, CONFIG, LOCK, METRICS};

/// What the lock says before the number of the process.
pub(super) const HOLDER: &str = "process ";
/// What a checkpoint has and a run has not.
const CHECKPOINT: [&str; 2] = ["state.toml", "manifest.json"];
/// What says that a run has begun: one of these.
const EVIDENCE: [&str; 3] = [LOCK, CHECKPOINTS, METRICS];

/// Checks that a new run can begin in `path`: where nothing is, or a folder that holds no more than
/// a start that was killed at once leaves.
///
/// # Errors
/// If something else is there.
pub fn check_new(path: &Path) -> anyhow::Result<()> {
    check_outside(path)?;
    let shown = path.display();
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => match Kind::at(path) {
            // What keeps it from being made is said then.
            Ok(None) | Err(_) => return Ok(()),
            Ok(Some(other)) if other != Kind::Folder => {
                bail!("{shown} exists and is {other}; choose another --out")
            }
            _ => return Err(error).with_context(|| format!("cannot read {shown}")),
        },
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {shown}"))?;
        if is_remnant(&entry) {
            continue;
        }
        if check_run(path).is_ok() {
            bail!(
                "{shown} exists and is not empty; continue it with --resume {shown}, or choose \
                 another --out"
            );
        }
        bail!("{shown} exists and is not empty, and holds no run; choose another --out");
    }
    Ok(())
}

/// Checks that `path` is not within the folder of a run, which removes and replaces what is there.
///
/// # Errors
/// Names the run.
pub fn check_outside(path: &Path) -> anyhow::Result<()> {
    match enclosing(path).into_iter().find(|folder| check_run(folder).is_ok()) {
        Some(run) => {
            bail!("{} is within the run {}; choose another --out", path.display(), run.display())
        }
        None => Ok(()),
    }
}

/// The folders that `path` is in, or will be, the nearest first; without links.
fn enclosing(path: &Path) -> Vec<PathBuf> {
    let folders = |innermost: &Path| innermost.ancestors().map(Path::to_owned).collect();
    if let Ok(path) = path.canonicalize() {
        return path.parent().map(folders).unwrap_or_default();
    }
    let path = path::absolute(path).unwrap_or_else(|_| path.into());
    let there = path.ancestors().find_map(|folder| folder.canonicalize().ok());
    there.as_deref().map(folders).unwrap_or_default()
}

/// Whether a run was begun in `path`, if only a moment before it was killed.
pub fn is_begun(path: &Path) -> bool {
    EVIDENCE.iter().any(|name| path.join(name).exists())
}

/// Whether a run was started in `path`.
pub fn has_config(path: &Path) -> bool {
    path.join(CONFIG).is_file()
}

/// Whether a run that had not begun has left it.
fn is_remnant(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let is_lock = || {
        let text = read_own(&entry.path()).unwrap_or_else(|_| b"unreadable".into());
        text.is_empty() || text.starts_with(HOLDER.as_bytes())
    };
    storage::is_unfinished(&name) || name == LOCK && is_lock()
}

/// Checks that a run was started in `path`.
pub(super) fn check_run(path: &Path) -> anyhow::Result<()> {
    let has = |name: &str| path.join(name).exists();
    let shown = path.display();
    if CHECKPOINT.iter().all(|name| has(name)) {
        let run = path.parent().and_then(Path::parent).filter(|run| !run.as_os_str().is_empty());
        let run = run.unwrap_or(Path::new(".")).display();
        bail!("{shown} is a checkpoint; name its run, {run}");
    }
    ensure!(has(CONFIG), "{shown} is no run folder: it has no {CONFIG}");
    ensure!(
        is_begun(path),
        "{shown} is no run folder: it has a {CONFIG}, but no run has begun there"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_killed_start_leaves_counts_as_empty() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        fs::write(path.join(LOCK), "process 12").unwrap();
        fs::write(path.join(".bitnet-0123456789abcdef.tmp"), "half").unwrap();
        assert!(check_new(path).is_ok());
        for theirs in [".tmp-notes", "notes"] {
            fs::write(path.join(theirs), "mine").unwrap();
            assert!(check_new(path).is_err(), "{theirs}");
            fs::remove_file(path.join(theirs)).unwrap();
        }
        fs::write(path.join(LOCK), "the combination of my locker").unwrap();
        assert!(check_new(path).is_err());
    }
    #[test]
    fn nothing_begins_within_a_run() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("run/checkpoints")).unwrap();
        fs::create_dir_all(path("run/model/empty")).unwrap();
        for inner in ["run/model", "run/model/empty", "run/new", "run/a/b", "run/model/../new"] {
            assert!(check_outside(&path(inner)).is_ok(), "without a configuration it is no run");
            fs::write(path("run/config.toml"), "").unwrap();
            let error = check_new(&path(inner)).unwrap_err().to_string();
            assert!(error.contains(" is within the run /"), "{inner}: {error}");
            fs::remove_file(path("run/config.toml")).unwrap();
        }
        fs::write(path("run/config.toml"), "").unwrap();
        for outer in ["run", "new", "run-2", "run/..", "run/model/../../new", "."] {
            assert!(check_outside(&path(outer)).is_ok(), "{outer}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("run/model", path("link")).unwrap();
            assert!(check_outside(&path("link/new")).is_err());
            assert!(check_outside(&path("link")).is_err());
        }
    }
}
