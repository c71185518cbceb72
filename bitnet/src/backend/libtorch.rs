//! The version of the LibTorch that the program runs with, which need not be the one that it was
//! built with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::BackendError;

/// What `tch` 0.22 is written for. Versions that differ after the second dot fit, too.
const REQUIRED_VERSION: &str = "2.9";

/// Refuses a LibTorch of another version, as far as one can tell: on Linux, from the file that the
/// PyPI wheel and the archives of LibTorch have beside their libraries.
///
/// # Errors
/// [`BackendError::LibTorchVersion`].
pub(super) fn check() -> Result<(), BackendError> {
    let Some(libraries) = loaded_from() else { return Ok(()) };
    match libraries.parent().and_then(version) {
        Some(found) if !fits(&found) => {
            Err(BackendError::LibTorchVersion { found, required: REQUIRED_VERSION, libraries })
        }
        _ => Ok(()),
    }
}

/// The folder of the libraries.
fn loaded_from() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let paths = maps.lines().filter_map(|line| Some(Path::new(&line[line.find('/')?..])));
    let mut libraries = paths.filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libtorch_cpu."))
    });
    Some(libraries.next()?.parent()?.to_owned())
}

/// The version of the LibTorch in a folder.
fn version(folder: &Path) -> Option<String> {
    // `2.9.0+cpu` in an archive; `__version__ = '2.9.0+cu128'` among other lines in the wheel.
    if let Ok(text) = fs::read_to_string(folder.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(folder.join("version.py")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("__version__"))?;
    value.split(['\'', '"']).nth(1).map(str::to_owned)
}

fn fits(version: &str) -> bool {
    version
        .strip_prefix(REQUIRED_VERSION)
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_wheels_and_archives() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(version(folder.path()), None);
        let wheel = "from typing import Optional\n\n__all__ = ['__version__', 'debug']\n\
                     __version__ = '2.8.0+cu128'\ndebug = False\n";
        fs::write(folder.path().join("version.py"), wheel).unwrap();
        assert_eq!(version(folder.path()).as_deref(), Some("2.8.0+cu128"));
        fs::write(folder.path().join("build-version"), "2.9.1+cpu\n").unwrap();
        assert_eq!(version(folder.path()).as_deref(), Some("2.9.1+cpu"));
    }

    #[test]
    fn the_minor_version_decides() {
        for version in ["2.9.0", "2.9.1+cpu", "2.9"] {
            assert!(fits(version), "{version}");
        }
        for version in ["2.90.0", "2.8.0", "1.2.9", ""] {
            assert!(!fits(version), "{version}");
        }
    }

    #[test]
    fn the_loaded_one_is_found_and_fits() {
        tch::Cuda::device_count();
        #[cfg(target_os = "linux")]
        assert!(
            loaded_from().is_some_and(|libraries| version(libraries.parent().unwrap()).is_some())
        );
        check().unwrap();
    }
}
