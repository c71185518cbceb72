use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::Path,
    time::Duration,
};

use super::{
    kind::Kind,
    names::{is_aside, is_unfinished},
    open_own,
};

/// The file in a folder whose lock is held while a process writes there.
pub(super) const LOCK: &str = "lock";
/// After this time, whoever makes a file or folder has locked it.
const UNLOCKED: Duration = Duration::from_secs(60);

/// Creates `folder` and takes its lock, which the system releases however the process ends; then
/// puts in order what a killed process left there. Where another process holds the lock, calls
/// `waiting` and waits. Where there are no locks, does nothing.
///
/// # Errors
/// Any I/O error.
pub fn lock_folder(folder: &Path, waiting: impl FnOnce()) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let options = OpenOptions::new().create(true).truncate(false).write(true).clone();
    let file = open_own(&folder.join(LOCK), &options)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            waiting();
            file.lock()?;
        }
        Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => return Ok(file),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    recover(folder)?;
    Ok(file)
}

/// Puts in order what a killed process left in `folder`: gives a folder that was set aside its
/// name back if nothing took it, and removes unfinished files and folders. Nobody else may be
/// writing there. Whatever has not a name of this program's is left alone.
///
/// # Errors
/// Any I/O error. A `folder` that does not exist is none.
pub fn recover(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        match Kind::at(&path)? {
            Some(Kind::Folder) if is_aside(&name) => put_back(&path, folder)?,
            Some(Kind::Folder) if is_unfinished(&name) => fs::remove_dir_all(&path)?,
            Some(Kind::File) if is_unfinished(&name) => fs::remove_file(&path)?,
            _ => {}
        }
    }
    Ok(())
}

/// As [`recover`], where others may be writing: leaves alone what a living process has locked, and
/// what is too new to tell. Best effort: nobody asked for this.
pub(super) fn recover_abandoned(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let is_aside = is_aside(&name);
        if !(is_aside || is_unfinished(&name)) {
            continue;
        }
        let Ok(Some(kind @ (Kind::File | Kind::Folder))) = Kind::at(&path) else { continue };
        let Some(_lock) = lock_abandoned(&path) else { continue };
        let _ = match kind {
            Kind::Folder if is_aside => put_back(&path, folder),
            Kind::Folder => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
    }
}

/// The lock on what no living process writes, or none if one does or if that cannot be known.
fn lock_abandoned(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    let age = file.metadata().ok()?.modified().ok()?.elapsed().ok()?;
    (age > UNLOCKED && file.try_lock().is_ok()).then_some(file)
}

/// Moves what a folder holds back to where it was, unless something has taken its place.
fn put_back(aside: &Path, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(aside)? {
        let entry = entry?;
        let place = folder.join(entry.file_name());
        if Kind::at(&place)?.is_none() {
            fs::rename(entry.path(), place)?;
        }
    }
    fs::remove_dir_all(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_leaves_is_put_in_order_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let folder = |name: &str, text: &str| {
            fs::create_dir_all(path(name)).unwrap();
            fs::write(path(name).join("a"), text).unwrap();
        };
        let theirs = [".tmp-notes", ".old-y", ".bitnet-mine.tmp", "lock"];
        theirs.iter().for_each(|name| fs::write(path(name), name).unwrap());
        folder(".tmp-folder", "theirs");
        // Killed between two renames, after both of them, and in the middle of other writes.
        folder(".bitnet-0000000000000001.old/lost", "old");
        folder(".bitnet-0000000000000002.old/model", "old");
        folder("model", "new");
        folder(".bitnet-0000000000000003.tmp", "half");
        fs::write(path(".bitnet-0000000000000004.tmp"), "half").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("model", path(".bitnet-0000000000000005.tmp")).unwrap();

        recover(root.path()).unwrap();
        let text = |name: &str| fs::read_to_string(path(name).join("a")).unwrap();
        assert_eq!((text("lost"), text("model")), ("old".into(), "new".into()));
        assert_eq!(text(".tmp-folder"), "theirs");
        for name in theirs {
            assert_eq!(fs::read_to_string(path(name)).unwrap(), name);
        }
        let left = theirs.len() + 3 + usize::from(cfg!(unix));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), left);
        assert!(recover(&path("nothing")).is_ok());
    }

    /// Among those who write, where a folder can be locked.
    #[test]
    #[cfg(unix)]
    fn what_is_abandoned_is_removed_and_nothing_that_is_written() {
        use std::time::SystemTime;

        use crate::storage::names::{unfinished_file, unfinished_folder};

        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let (living, living_folder) =
            (unfinished_file(root.path()).unwrap(), unfinished_folder(root.path()).unwrap());
        for number in [1, 2] {
            fs::create_dir(path(&format!(".bitnet-000000000000000{number}.tmp"))).unwrap();
        }
        for name in [".bitnet-0000000000000003.tmp", ".bitnet-mine.tmp", ".tmp-notes", "model"] {
            fs::write(path(name), name).unwrap();
        }
        fs::create_dir_all(path(".bitnet-0000000000000004.old/lost")).unwrap();
        let new = ".bitnet-0000000000000002.tmp";
        for entry in fs::read_dir(root.path()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != new {
                let long_ago = SystemTime::now() - 2 * UNLOCKED;
                File::open(entry.path()).unwrap().set_modified(long_ago).unwrap();
            }
        }
        recover_abandoned(root.path());
        let mut left: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        let mut expected: Vec<_> =
            [new, ".bitnet-mine.tmp", ".tmp-notes", "model", "lost"].map(path).into();
        expected.extend([living.path().to_owned(), living_folder.0.path().to_owned()]);
        left.sort();
        expected.sort();
        assert_eq!(left, expected);
    }
}
