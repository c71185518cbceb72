//! Writing files so that a crash, a kill or a full disk leaves either the old or the new content,
//! never a part of it.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// How the names of unfinished files and folders begin.
pub const TEMPORARY: &str = ".tmp-";
/// How the name of a folder begins that is being replaced in two steps.
const ASIDE: &str = ".old-";

/// Writes `bytes` to `path`: into a temporary file beside it, flushed to disk, then renamed.
///
/// # Errors
/// Any I/O error; `path` is then as it was before.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_file_with(path, |file| file.write_all(bytes))
}

/// As [`write_file`], with what `fill` writes.
///
/// # Errors
/// Any I/O error, `fill`'s included; `path` is then as it was before.
pub fn write_file_with<T, E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    let folder = parent(path);
    let mut builder = tempfile::Builder::new();
    let mut file = readable(builder.prefix(TEMPORARY)).tempfile_in(folder)?;
    let value = fill(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    sync_folder(folder)?;
    Ok(value)
}

/// Creates `folder` and takes its lock, which the system releases however the process ends; then
/// puts in order what a killed process left there. Where another process holds the lock, calls
/// `waiting` and waits. Where there are no locks, does nothing.
///
/// # Errors
/// Any I/O error.
pub fn lock_folder(folder: &Path, waiting: impl FnOnce()) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let path = folder.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
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

/// Creates the folder `path` with what `fill` writes into it, all or nothing: `fill` gets a
/// temporary folder beside it, which is flushed to disk and then takes the name. A folder of that
/// name is replaced: on Linux in one step, so that the name is never missing; elsewhere in two, of
/// which [`recover`] undoes the first if the second did not happen.
///
/// # Errors
/// Any I/O error, `fill`'s included; `path` is then as it was before.
pub fn write_folder<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let folder = parent(path);
    let new = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(folder)?;
    fill(new.path())?;
    for entry in fs::read_dir(new.path())? {
        File::open(entry?.path())?.sync_all()?;
    }
    sync_folder(new.path())?;
    open_permissions(new.path())?;

    if !path.exists() {
        fs::rename(new.path(), path)?;
        // The name is gone: nothing is left to be removed.
        let _ = new.keep();
    } else if !exchange(new.path(), path)? {
        let aside = set_aside(path);
        replace_in_two_steps(new.path(), path, &aside)?;
        let _ = new.keep();
        fs::remove_dir_all(aside)?;
    }
    sync_folder(folder)?;
    Ok(())
}

/// Puts in order what a killed process left in `folder`: gives a folder that was set aside its
/// name back if nothing took it, and removes unfinished files and folders. Nobody else may be
/// writing there.
///
/// # Errors
/// Any I/O error. A `folder` that does not exist is none.
pub fn recover(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(original) = name.strip_prefix(ASIDE) {
            let original = folder.join(original);
            if !original.exists() {
                fs::rename(&path, original)?;
                continue;
            }
        } else if !name.starts_with(TEMPORARY) {
            continue;
        }
        if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}

/// Swaps two folders in one step. Gives `false`, and does nothing, where the system or the file
/// system cannot.
#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> io::Result<bool> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };
    match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_a: &Path, _b: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Where a folder waits while another one takes its name.
fn set_aside(path: &Path) -> PathBuf {
    let mut name = OsString::from(ASIDE);
    name.push(path.file_name().unwrap_or_default());
    parent(path).join(name)
}

/// A folder cannot be renamed over another one, so the old one makes way first.
fn replace_in_two_steps(new: &Path, path: &Path, aside: &Path) -> io::Result<()> {
    if aside.exists() {
        fs::remove_dir_all(aside)?;
    }
    fs::rename(path, aside)?;
    fs::rename(new, path).inspect_err(|_| {
        // Best effort: the caller hears of the first error, and `recover` does the same later.
        let _ = fs::rename(aside, path);
    })
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Temporary files are private to their owner; these become files that are not, as far as the
/// process's mask of permissions allows.
#[cfg(unix)]
fn readable<'a, 'b, 'c>(
    builder: &'a mut tempfile::Builder<'b, 'c>,
) -> &'a mut tempfile::Builder<'b, 'c> {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn readable<'a, 'b, 'c>(
    builder: &'a mut tempfile::Builder<'b, 'c>,
) -> &'a mut tempfile::Builder<'b, 'c> {
    builder
}

/// Temporary folders are private to their owner; finished ones need not be.
#[cfg(unix)]
fn open_permissions(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn open_permissions(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes a rename in `folder` survive a power cut.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_folder_leaves_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        let write = |text: &'static str| {
            move |folder: &Path| -> io::Result<()> { fs::write(folder.join("a"), text) }
        };
        write_folder(&path, write("first")).unwrap();
        write_folder(&path, write("second")).unwrap();
        let failed = write_folder(&path, |folder| {
            fs::write(folder.join("a"), "half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "second");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "temporary folders remain");
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("bitnet-1.58b.json");
        write_file(&path, b"first and longer").unwrap();
        write_file(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    fn folder_with(path: &Path, text: &str) {
        fs::create_dir(path).unwrap();
        fs::write(path.join("a"), text).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_replaced_folder_is_never_missing() {
        use std::sync::atomic::{AtomicBool, Ordering};

        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        folder_with(&path, "0");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let mut looks = 0;
                while !done.load(Ordering::Relaxed) {
                    assert!(path.is_dir(), "missing at look {looks}");
                    looks += 1;
                }
                looks
            });
            for n in 0..200 {
                write_folder(&path, |folder| fs::write(folder.join("a"), n.to_string())).unwrap();
            }
            done.store(true, Ordering::Relaxed);
            assert!(looks.join().unwrap() > 0);
        });
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "199");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_steps_replace_and_what_a_kill_leaves_is_put_in_order() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let text = |name: &str| fs::read_to_string(path(name).join("a")).unwrap();
        folder_with(&path("model"), "old");
        folder_with(&path(".tmp-x"), "new");
        let aside = set_aside(&path("model"));
        replace_in_two_steps(&path(".tmp-x"), &path("model"), &aside).unwrap();
        assert_eq!(text("model"), "new");
        // Killed before the old one was removed.
        recover(root.path()).unwrap();
        assert_eq!(text("model"), "new");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

        // Killed between the two renames, and in the middle of other writes.
        fs::rename(path("model"), &aside).unwrap();
        folder_with(&path(".tmp-y"), "half");
        fs::write(path(".tmp-z"), "half").unwrap();
        recover(root.path()).unwrap();
        assert_eq!(text("model"), "new");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

        // A failed second step brings the old one back.
        assert!(replace_in_two_steps(&path("nothing"), &path("model"), &aside).is_err());
        assert_eq!(text("model"), "new");
        assert!(recover(&path("nothing")).is_ok());
    }
}
