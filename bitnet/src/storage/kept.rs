//! Folders that a program keeps, runs and the cache, which are known by their locks.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::{kind::Kind, open::read_own, recover::LOCK};

/// Whether a living process holds the [lock](super::lock_folder) of a folder.
pub(super) fn is_in_use(folder: &Path) -> io::Result<bool> {
    let lock = folder.join(LOCK);
    if Kind::at(&lock)? != Some(Kind::File) {
        return Ok(false);
    }
    Ok(matches!(File::open(lock)?.try_lock(), Err(TryLockError::WouldBlock)))
}

/// How deep the files of a run are in its folder, at most.
const DEPTH_OF_RUN: usize = 3;

/// The folder in which a program keeps a lock, a run or the cache, that a path is within, or that
/// is at the path or within it.
pub(super) fn keeper(path: &Path) -> io::Result<Option<PathBuf>> {
    for folder in path.ancestors().skip(1).take(DEPTH_OF_RUN) {
        if is_kept(folder)? {
            return Ok(Some(folder.into()));
        }
    }
    kept_within(path)
}

/// As [`keeper`], of a path and what is in it, not through links.
fn kept_within(path: &Path) -> io::Result<Option<PathBuf>> {
    if Kind::at(path)? != Some(Kind::Folder) {
        return Ok(None);
    }
    if is_kept(path)? {
        return Ok(Some(path.into()));
    }
    for entry in fs::read_dir(path)? {
        if let Some(folder) = kept_within(&entry?.path())? {
            return Ok(Some(folder));
        }
    }
    Ok(None)
}

/// Whether a program keeps a lock in a folder.
fn is_kept(folder: &Path) -> io::Result<bool> {
    let lock = folder.join(LOCK);
    if Kind::at(&lock)? != Some(Kind::File) {
        return Ok(false);
    }
    // Of a user's own file of that name the content is another one.
    let holder = read_own(&lock)?;
    Ok(holder.is_empty() || holder.starts_with(b"process "))
}
