use std::{fs, io, path::Path};

use super::{Refusal, kind::Kind};

/// Whether a folder that this program keeps is there. A link to one is refused, and so is anything
/// else: somebody else has put it there.
///
/// # Errors
/// Any I/O error, [`Refusal::NoFolder`] in one of them.
pub fn has_own_folder(path: &Path) -> io::Result<bool> {
    match Kind::at(path)? {
        None => Ok(false),
        Some(Kind::Folder) => Ok(true),
        Some(other) => Err(Refusal::NoFolder(other).into()),
    }
}

/// Creates a folder that this program keeps, in one that is there, unless it
/// [is there](has_own_folder) itself.
///
/// # Errors
/// As [`has_own_folder`].
pub fn create_own_folder(path: &Path) -> io::Result<()> {
    if has_own_folder(path)? {
        return Ok(());
    }
    match fs::create_dir(path) {
        // Another thread was faster, or what has come meanwhile is no folder.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            has_own_folder(path).map(drop)
        }
        made => made,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn folders_are_made_and_links_to_them_are_none() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        assert!(!has_own_folder(&path("own")).unwrap());
        for _ in 0..2 {
            create_own_folder(&path("own")).unwrap();
            assert!(has_own_folder(&path("own")).unwrap());
        }
        fs::write(path("file"), "text").unwrap();
        symlink("own", path("link")).unwrap();
        symlink("missing", path("dangling")).unwrap();
        for (name, kind) in [("file", Kind::File), ("link", Kind::Link), ("dangling", Kind::Link)] {
            for error in [has_own_folder(&path(name)).map(drop), create_own_folder(&path(name))] {
                let error = error.unwrap_err();
                assert_eq!(Refusal::of(&error), Some(&Refusal::NoFolder(kind)), "{name}");
            }
        }
        assert!(!path("missing").exists());
        let error = create_own_folder(&path("none/inner")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
