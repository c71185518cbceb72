use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{Refusal, kind::Kind, names, parent};

/// Writes `bytes` to `path`: into a temporary file beside it, flushed to disk, then renamed.
///
/// # Errors
/// Any I/O error, and [`Refusal::NoFile`] if something else than a regular file stands there;
/// `path` is then as it was before.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_file_with(path, |file| file.write_all(bytes))
}

/// As [`write_file`], with what `fill` writes.
///
/// # Errors
/// As [`write_file`], `fill`'s included; `path` is then as it was before.
pub fn write_file_with<T, E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    match Kind::at(path)? {
        None | Some(Kind::File) => {}
        Some(other) => return Err(io::Error::from(Refusal::NoFile(other)).into()),
    }
    make_file(path, fill, |file| Ok(file.persist(path).map(drop).map_err(|e| e.error)?))
}

/// Fills a temporary file beside `path`, flushes it, and has `name` give it its name.
pub(super) fn make_file<T, E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<T, E>,
    name: impl FnOnce(tempfile::NamedTempFile) -> Result<(), E>,
) -> Result<T, E> {
    let folder = parent(path);
    let mut file = names::unfinished_file(folder)?;
    let value = fill(file.as_file_mut())?;
    file.as_file().sync_all()?;
    name(file)?;
    sync_folder(folder)?;
    Ok(value)
}

/// Creates the folder `path` with what `fill` writes into it, all or nothing: `fill` gets a
/// temporary folder beside it, which is flushed to disk and then takes the name. A folder of that
/// name is replaced: on Linux in one step, so that the name is never missing; elsewhere in two, of
/// which [`recover`](super::recover) undoes the first if the second did not happen. A folder with
/// files or folders of other names than the new one is not replaced: it is set aside as
/// `kept-NAME`, which is returned.
///
/// # Errors
/// Any I/O error, `fill`'s included, and [`Refusal::NoFolder`] if something else than a folder
/// stands there; `path` is then as it was before.
pub fn write_folder<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<Option<PathBuf>, E> {
    match Kind::at(path)? {
        None | Some(Kind::Folder) => {}
        Some(other) => return Err(io::Error::from(Refusal::NoFolder(other)).into()),
    }
    let mut kept = None;
    make_folder(path, fill, |new| {
        if has_others(path, new)? {
            kept = Some(set_aside(path, "kept")?);
        }
        Ok(replace_folder(new, path)?)
    })?;
    Ok(kept)
}

/// Whether a folder has anything that another one has not, by names, or has it as another kind.
fn has_others(folder: &Path, other: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if Kind::at(&entry.path())? != Kind::at(&other.join(entry.file_name()))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Fills a temporary folder beside `path`, flushes it, and has `name` give it its name.
pub(super) fn make_folder<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
    name: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let folder = parent(path);
    // Removed with all it holds when this ends: what failed, or what was replaced.
    let (new, _lock) = names::unfinished_folder(folder)?;
    fill(new.path())?;
    for entry in fs::read_dir(new.path()).map_err(E::from)? {
        let entry = entry.map_err(E::from)?;
        File::open(entry.path()).and_then(|file| file.sync_all())?;
    }
    sync_folder(new.path())?;
    name(new.path())?;
    sync_folder(folder)?;
    Ok(())
}

/// Gives the folder `new` the name `path`. The folder that has it, if any, is then gone or `new`.
pub(super) fn replace_folder(new: &Path, path: &Path) -> io::Result<()> {
    if Kind::at(path)?.is_none() {
        fs::rename(new, path)
    } else if exchange(new, path)? {
        Ok(())
    } else {
        replace_in_two_steps(new, path)
    }
}

/// Swaps two folders in one step. Returns `false`, and does nothing, where the system or the file
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

/// A folder cannot be renamed over another one, so the old one makes way first.
fn replace_in_two_steps(new: &Path, path: &Path) -> io::Result<()> {
    let aside = names::aside(path)?;
    let old = aside.path().join(path.file_name().unwrap_or_default());
    let replaced = fs::rename(path, &old).and_then(|()| {
        fs::rename(new, path).inspect_err(|_| {
            // Best effort: the caller hears of the first error, and `recover` does the same later.
            let _ = fs::rename(&old, path);
        })
    });
    match replaced {
        Ok(()) => fs::remove_dir_all(aside.path()),
        Err(error) => {
            // Only if it is empty: the old folder is not given up.
            let _ = fs::remove_dir(aside.path());
            Err(error)
        }
    }
}

/// Removes a folder so that a kill in the middle leaves no half of it under its name.
///
/// # Errors
/// Any I/O error.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    let (grave, _lock) = names::unfinished_folder(parent(path))?;
    fs::rename(path, grave.path().join("removed"))?;
    grave.close()
}

/// Gives what stands at `path` a name beside it that is free, `PREFIX-NAME` or one with a number
/// after it: it may be wanted still. Returns that path.
///
/// # Errors
/// Any I/O error.
pub fn set_aside(path: &Path, prefix: &str) -> io::Result<PathBuf> {
    let mut name = OsString::from(format!("{prefix}-"));
    name.push(path.file_name().unwrap_or_default());
    for number in 1_u32.. {
        let mut name = name.clone();
        if number > 1 {
            name.push(format!("-{number}"));
        }
        let aside = path.with_file_name(name);
        if Kind::at(&aside)?.is_none() {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
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
    use crate::storage::recover;

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

    #[test]
    #[cfg(unix)]
    fn what_is_no_file_or_folder_is_not_replaced() {
        use std::os::unix::fs::symlink;

        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("victim"), "victim").unwrap();
        folder_with(&path("folder"), "victim");
        symlink("victim", path("link")).unwrap();
        symlink("folder", path("folders")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(pipe.success());
        let before = fs::read_dir(root.path()).unwrap().count();
        for name in ["link", "folders", "pipe", "folder"] {
            assert!(write_file(&path(name), b"new").is_err(), "{name}");
        }
        for name in ["link", "folders", "pipe", "victim"] {
            let fill = |_: &Path| -> io::Result<()> { panic!("{name} is looked at first") };
            assert!(write_folder(&path(name), fill).is_err(), "{name}");
        }
        assert_eq!(fs::read(path("victim")).unwrap(), b"victim");
        assert_eq!(fs::read(path("folder/a")).unwrap(), b"victim");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), before);
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
    fn two_steps_replace_and_a_failed_second_one_brings_the_old_back() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let text = |name: &str| fs::read_to_string(path(name).join("a")).unwrap();
        folder_with(&path("model"), "old");
        folder_with(&path("new"), "new");
        replace_in_two_steps(&path("new"), &path("model")).unwrap();
        assert_eq!(text("model"), "new");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

        assert!(replace_in_two_steps(&path("nothing"), &path("model")).is_err());
        assert_eq!(text("model"), "new");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

        // Killed between the two renames.
        let aside = names::aside(&path("model")).unwrap();
        fs::rename(path("model"), aside.path().join("model")).unwrap();
        recover(root.path()).unwrap();
        assert_eq!(text("model"), "new");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_given_up_for_what_is_set_aside() {
        let root = tempfile::tempdir().unwrap();
        for (text, name) in [("1", "damaged-a"), ("2", "damaged-a-2"), ("3", "damaged-a-3")] {
            fs::write(root.path().join("a"), text).unwrap();
            assert_eq!(
                set_aside(&root.path().join("a"), "damaged").unwrap(),
                root.path().join(name)
            );
            assert_eq!(fs::read_to_string(root.path().join(name)).unwrap(), text);
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_was_added_to_a_folder_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model");
        let write = |text: &'static str| {
            write_folder(&path, move |folder| -> io::Result<()> {
                fs::write(folder.join("a"), text)
            })
        };
        assert_eq!(write("1").unwrap(), None);
        assert_eq!(write("2").unwrap(), None);
        fs::write(path.join("theirs"), "theirs").unwrap();
        let kept = root.path().join("kept-model");
        assert_eq!(write("3").unwrap(), Some(kept.clone()));
        assert_eq!(write("4").unwrap(), None);
        let text = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(
            (text(kept.join("theirs")), text(kept.join("a"))),
            ("theirs".into(), "2".into())
        );
        assert_eq!(text(path.join("a")), "4");
        fs::remove_file(path.join("a")).unwrap();
        fs::create_dir(path.join("a")).unwrap();
        assert_eq!(write("5").unwrap(), Some(root.path().join("kept-model-2")));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3);
    }

    #[test]
    fn a_removed_folder_is_gone() {
        let root = tempfile::tempdir().unwrap();
        folder_with(&root.path().join("step"), "x");
        remove_folder(&root.path().join("step")).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        assert!(remove_folder(&root.path().join("step")).is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
