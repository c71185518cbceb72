use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    path::Path,
};

use tempfile::{Builder, NamedTempFile, TempDir};

use super::parent;

/// How names begin that nobody but this module gives.
const PREFIX: &str = ".bitnet-";
/// Letters and digits that follow, drawn at random.
const TOKEN: usize = 16;
/// How the names of what is not finished, or on its way out, end.
const UNFINISHED: &str = ".tmp";
/// How the name of a folder ends that holds what is being replaced in two steps.
const ASIDE: &str = ".old";

/// Whether this is the name of a file or folder that a process was writing or removing.
pub fn is_unfinished(name: &OsStr) -> bool {
    has_form(name, UNFINISHED)
}

/// Whether this is the name of a folder that holds what was to be replaced.
pub(super) fn is_aside(name: &OsStr) -> bool {
    has_form(name, ASIDE)
}

fn has_form(name: &OsStr, suffix: &str) -> bool {
    let token = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(suffix));
    token.is_some_and(|token| {
        token.len() == TOKEN && token.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Makes a file in `folder` that is not finished. A lock on it says that it is being written, for
/// as long as the process lives. It is open to all as far as the process's mask of permissions
/// allows: it takes the place of others that nothing else is said of.
pub(super) fn unfinished_file(folder: &Path) -> io::Result<NamedTempFile> {
    let file = unfinished(0o666).tempfile_in(folder)?;
    // Without locks nobody removes what others left.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// As [`unfinished_file`], a folder, and what holds its lock where folders can be locked.
pub(super) fn unfinished_folder(folder: &Path) -> io::Result<(TempDir, Option<File>)> {
    let folder = unfinished(0o777).tempdir_in(folder)?;
    let lock = File::open(folder.path()).ok().filter(|folder| folder.try_lock().is_ok());
    Ok((folder, lock))
}

fn unfinished(mode: u32) -> Builder<'static, 'static> {
    let mut builder = named(UNFINISHED);
    set_mode(&mut builder, mode);
    builder
}

/// A folder beside `path` for what stands there, which is not removed by itself.
pub(super) fn aside(path: &Path) -> io::Result<TempDir> {
    let mut folder = named(ASIDE).tempdir_in(parent(path))?;
    folder.disable_cleanup(true);
    Ok(folder)
}

fn named(suffix: &'static str) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).rand_bytes(TOKEN).suffix(suffix);
    builder
}

#[cfg(unix)]
fn set_mode(builder: &mut Builder<'static, 'static>, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(mode));
}

#[cfg(not(unix))]
fn set_mode(_builder: &mut Builder<'static, 'static>, _mode: u32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_given_here_are_known_and_no_others() {
        let root = tempfile::tempdir().unwrap();
        let name = |path: &Path| path.file_name().unwrap().to_owned();
        let file = unfinished_file(root.path()).unwrap();
        let (folder, _) = unfinished_folder(root.path()).unwrap();
        let old = aside(&root.path().join("model")).unwrap();
        assert!(is_unfinished(&name(file.path())) && is_unfinished(&name(folder.path())));
        assert!(is_aside(&name(old.path())) && !is_unfinished(&name(old.path())));
        for foreign in [
            ".tmp-notes",
            ".old-y",
            ".tmp",
            ".bitnet-notes.tmp",
            ".bitnet-0123456789abcde.tmp",
            ".bitnet-0123456789abcdefg.tmp",
            ".bitnet-0123456789abcde-.tmp",
            "x.bitnet-0123456789abcdef.tmp",
            ".bitnet-0123456789abcdef.tmp.txt",
        ] {
            assert!(!is_unfinished(foreign.as_ref()) && !is_aside(foreign.as_ref()), "{foreign}");
        }
        assert!(is_unfinished(".bitnet-0123456789abcDEF.tmp".as_ref()));
    }
}
