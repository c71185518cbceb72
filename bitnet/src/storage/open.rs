use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::Path,
};

use super::refusal::check_file;

/// Opens a file that a user has named, for reading. Links are followed; what is no regular file is
/// refused, at once.
///
/// # Errors
/// Any I/O error, [`Refusal::NoFile`](super::Refusal::NoFile) in one of them.
pub fn open_input(path: &Path) -> io::Result<File> {
    // Looked at before it is opened, which is an act for a device; and after, for it may be
    // another one by then.
    check_file(&fs::metadata(path)?)?;
    open(path, OpenOptions::new().read(true), Links::Followed)
}

/// Opens, or creates, a file that this program keeps, as `options` say, which must not truncate.
/// A link is not followed, and what is no regular file is refused: somebody else has put it there.
///
/// # Errors
/// As [`open_input`].
pub fn open_own(path: &Path, options: &OpenOptions) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => check_file(&found?)?,
    }
    open(path, options, Links::Refused)
}

/// The content of a file that a user has named; see [`open_input`].
///
/// # Errors
/// As [`open_input`].
pub fn read_input(path: &Path) -> io::Result<Vec<u8>> {
    read(open_input(path)?)
}

/// The content of a file that this program keeps; see [`open_own`].
///
/// # Errors
/// As [`open_input`].
pub fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    read(open_own(path, OpenOptions::new().read(true))?)
}

fn read(mut file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Followed,
    Refused,
}

fn open(path: &Path, options: &OpenOptions, links: Links) -> io::Result<File> {
    let mut options = options.clone();
    restrict(&mut options, links);
    let file = options.open(path)?;
    check_file(&file.metadata()?)?;
    Ok(file)
}

/// A pipe does not keep the process waiting, a terminal does not become its own, and a link in the
/// last place is an error.
#[cfg(unix)]
fn restrict(options: &mut OpenOptions, links: Links) {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    if links == Links::Refused {
        flags |= OFlags::NOFOLLOW;
    }
    options.custom_flags(flags.bits() as i32);
}

#[cfg(not(unix))]
fn restrict(_options: &mut OpenOptions, _links: Links) {}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        os::unix::{fs::symlink, net::UnixListener},
        path::PathBuf,
        process::Command,
    };

    use super::*;
    use crate::storage::{Kind, Refusal};

    fn refusal<T>(result: io::Result<T>) -> Refusal {
        Refusal::of(&result.map(|_| ()).expect_err("it is refused")).expect("a refusal").clone()
    }

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let made = |command: &str, args: &[&str], name: &str| -> Option<PathBuf> {
            let status = Command::new(command).arg(path(name)).args(args).output().ok()?.status;
            status.success().then(|| path(name))
        };
        fs::write(path("file"), "text").unwrap();
        fs::create_dir(path("folder")).unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        let mut others = vec![(path("folder"), Kind::Folder), (path("socket"), Kind::Socket)];
        others.push((made("mkfifo", &[], "pipe").unwrap(), Kind::Pipe));
        // The null device, under a name here: where nodes may be made.
        others.extend(made("mknod", &["c", "1", "3"], "device").map(|path| (path, Kind::Device)));
        let (read, write) = (OpenOptions::new().read(true).clone(), {
            OpenOptions::new().create(true).append(true).clone()
        });
        for (other, kind) in &others {
            assert_eq!(refusal(open_input(other)), Refusal::NoFile(*kind));
            for options in [&read, &write] {
                assert_eq!(refusal(open_own(other, options)), Refusal::NoFile(*kind));
            }
            // Behind a link, too.
            symlink(other, path("link")).unwrap();
            assert_eq!(refusal(open_input(&path("link"))), Refusal::NoFile(*kind));
            assert_eq!(refusal(open_own(&path("link"), &write)), Refusal::NoFile(Kind::Link));
            fs::remove_file(path("link")).unwrap();
        }

        assert_eq!(read_input(&path("file")).unwrap(), b"text");
        assert_eq!(read_own(&path("file")).unwrap(), b"text");
        symlink("file", path("link")).unwrap();
        assert_eq!(read_input(&path("link")).unwrap(), b"text");
        assert_eq!(refusal(read_own(&path("link"))), Refusal::NoFile(Kind::Link));
        // One that leads nowhere is not the way to a new file either.
        symlink("victim", path("dangling")).unwrap();
        assert_eq!(refusal(open_own(&path("dangling"), &write)), Refusal::NoFile(Kind::Link));
        assert!(!path("victim").exists());
        assert!(open_own(&path("new"), &write).is_ok() && path("new").exists());
        let missing = open_input(&path("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
