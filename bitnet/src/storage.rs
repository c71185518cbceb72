//! Writing files so that a crash, a kill or a full disk leaves either the old or the new content,
//! never a part of it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Writes `bytes` to `path`: into a temporary file beside it, flushed to disk, then renamed.
///
/// # Errors
/// Any I/O error; `path` is then as it was before.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = parent(path);
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    sync_folder(folder)
}

/// Creates the folder `path` with what `fill` writes into it, all or nothing: `fill` gets a
/// temporary folder beside it, which is flushed to disk and then takes the name. A folder of that
/// name is replaced, and restored if the replacement fails.
///
/// # Errors
/// Any I/O error, `fill`'s included; `path` is then as it was before.
pub fn write_folder<E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let folder = parent(path);
    let new = tempfile::Builder::new().prefix(".tmp-").tempdir_in(folder)?;
    fill(new.path())?;
    for entry in fs::read_dir(new.path())? {
        File::open(entry?.path())?.sync_all()?;
    }
    sync_folder(new.path())?;
    open_permissions(new.path())?;

    if path.exists() {
        // A folder cannot be renamed over another one. Between the two renames a crash leaves the
        // old folder under its temporary name.
        let old = tempfile::Builder::new().prefix(".old-").tempdir_in(folder)?;
        let aside = old.path().join("old");
        fs::rename(path, &aside)?;
        if let Err(error) = fs::rename(new.path(), path) {
            fs::rename(&aside, path)?;
            return Err(error.into());
        }
    } else {
        fs::rename(new.path(), path)?;
    }
    // The name is gone: nothing is left to be removed.
    let _ = new.keep();
    sync_folder(folder)?;
    Ok(())
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
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
}
