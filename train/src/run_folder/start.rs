use std::{
    fs::{self, DirEntry},
    io,
    path::{Path, PathBuf},
};

use bitnet::storage::{self, Kind};

use super::names::{CHECKPOINTS, CONFIG, EVENTS, LOCK, METRICS};

/// The start of a run in a folder that this process makes. Where it ends, by an error or a panic,
/// before there is anything to go on from, folders that were not there before are removed again,
/// and so is what was put into one that was.
#[derive(Debug)]
pub struct Start {
    /// Folders that were not there, the deepest first.
    missing: Vec<PathBuf>,
    /// The folder, once what is in it is this process's.
    own: Option<PathBuf>,
    goes_on: bool,
}

impl Start {
    /// Of a run in `path`, of which nothing is made yet.
    pub(super) fn at(path: &Path) -> Self {
        let is_missing = |path: &&Path| matches!(Kind::at(path), Ok(None));
        let missing = path.ancestors().take_while(|path| !path.as_os_str().is_empty());
        let missing = missing.take_while(is_missing).map(Path::to_owned).collect();
        Self { missing, own: None, goes_on: false }
    }

    /// From here on what is in the folder is this process's.
    pub(super) fn owns(&mut self, path: &Path) {
        self.own = Some(path.into());
    }

    /// The run goes on, or has told how it does: nothing is removed.
    pub fn goes_on(mut self) {
        self.goes_on = true;
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if self.goes_on {
            return;
        }
        // Best effort: the caller hears why the run could not start.
        if let Some(folder) = &self.own
            && !matches!(empty(folder), Ok(true))
        {
            return;
        }
        for folder in &self.missing {
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

/// Removes what a start puts into a folder. Returns `false`, and removes nothing, if there is more.
fn empty(folder: &Path) -> io::Result<bool> {
    storage::recover(folder)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        match Kind::at(&path)? {
            Some(Kind::Folder) if name == CHECKPOINTS => {
                if fs::read_dir(&path)?.next().is_some() {
                    return Ok(false);
                }
            }
            Some(Kind::File) if is_of_start(&entry)? => files.push(path),
            _ => return Ok(false),
        }
    }
    match fs::remove_dir(folder.join(CHECKPOINTS)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The lock last: until then nobody else writes here.
    files.sort_by_key(|path| path.ends_with(LOCK));
    files.iter().try_for_each(fs::remove_file)?;
    Ok(true)
}

/// Whether a file says nothing of a step.
fn is_of_start(entry: &DirEntry) -> io::Result<bool> {
    let name = entry.file_name();
    Ok(name == LOCK
        || name == CONFIG
        || name.to_str().is_some_and(|name| name.starts_with(EVENTS))
        || name == METRICS && entry.metadata()?.len() == 0)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::{config::Config, run_folder::RunFolder};

    #[test]
    fn a_start_that_fails_leaves_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("runs/a");
        let create = || RunFolder::create(&path, &Config::default()).unwrap();
        let (folder, start) = create();
        fs::write(folder.metrics(), "").unwrap();
        fs::write(path.join("events.out.tfevents.1"), "version").unwrap();
        drop(start);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        drop(folder);

        let panic = catch_unwind(AssertUnwindSafe(|| {
            let _run = create();
            panic!("no memory");
        }));
        assert!(panic.is_err() && fs::read_dir(root.path()).unwrap().count() == 0);

        // A folder that was there before is left, and emptied.
        fs::create_dir_all(&path).unwrap();
        drop(create());
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn what_is_of_worth_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let create = || RunFolder::create(&path, &Config::default()).unwrap();
        let (_, start) = create();
        start.goes_on();
        assert!(path.join(CONFIG).is_file());
        fs::remove_dir_all(&path).unwrap();

        for name in ["metrics.csv", "checkpoints/step-00000001", "samples", "notes.txt"] {
            let (folder, start) = create();
            match name {
                "samples" => fs::create_dir(path.join(name)).unwrap(),
                name => fs::write(path.join(name), "step").unwrap(),
            }
            drop((start, folder));
            assert!(path.join(name).exists() && path.join(CONFIG).is_file(), "{name}");
            fs::remove_dir_all(&path).unwrap();
        }
    }
}
