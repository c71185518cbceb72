//! What may stand where a program is told to write. The tests of both programs go through all of
//! it, for every command that writes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What stands at `--out`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Nothing,
    EmptyFolder,
    /// What the same command made before.
    OwnProduct,
    ForeignFolder,
    ForeignFile,
    LinkToFile,
    LinkToFolder,
    LinkToNothing,
    Pipe,
    Device,
    /// A folder that holds what the command reads.
    InputsFolder,
}

impl Place {
    pub(crate) const ALL: [Self; 11] = [
        Self::Nothing,
        Self::EmptyFolder,
        Self::OwnProduct,
        Self::ForeignFolder,
        Self::ForeignFile,
        Self::LinkToFile,
        Self::LinkToFolder,
        Self::LinkToNothing,
        Self::Pipe,
        Self::Device,
        Self::InputsFolder,
    ];

    /// Makes it at `path`, but for what only the command itself makes. Returns `false` where the
    /// system does not let it be made.
    pub(crate) fn make(self, path: &Path) -> bool {
        let near = |name: &str| path.with_file_name(name);
        match self {
            Self::Nothing | Self::OwnProduct | Self::InputsFolder => {}
            Self::EmptyFolder => fs::create_dir(path).unwrap(),
            Self::ForeignFolder => {
                fs::create_dir(path).unwrap();
                fs::write(path.join("thesis.txt"), "years of work").unwrap();
            }
            Self::ForeignFile => fs::write(path, "years of work").unwrap(),
            Self::LinkToFile => {
                fs::write(near("victim"), "years of work").unwrap();
                link("victim", path);
            }
            Self::LinkToFolder => {
                fs::create_dir(near("victims")).unwrap();
                fs::write(near("victims/thesis.txt"), "years of work").unwrap();
                link("victims", path);
            }
            Self::LinkToNothing => link("nowhere", path),
            Self::Pipe => return made("mkfifo", path, &[]),
            // The null device under a name in this folder.
            Self::Device => return made("mknod", path, &["c", "1", "3"]),
        }
        true
    }
}

fn link(to: &str, path: &Path) {
    std::os::unix::fs::symlink(to, path).unwrap();
}

fn made(command: &str, path: &Path, args: &[&str]) -> bool {
    let output = Command::new(command).arg(path).args(args).output();
    let made = output.is_ok_and(|output| output.status.success());
    if !made {
        eprintln!("SKIPPED: {command} is not permitted here");
    }
    made
}

/// All that is in a folder: the content of each file, where each link leads, the kind of the rest.
pub(crate) fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        let what = if kind.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if kind.is_file() {
            fs::read(&path).unwrap()
        } else {
            format!("{kind:?}").into_bytes()
        };
        if kind.is_dir() {
            found.extend(snapshot(&path));
        }
        found.insert(path, what);
    }
    found
}
