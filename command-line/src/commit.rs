//! Which commit a folder of sources is, read from git's files: where programs are built there may
//! be no git.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A commit, and what changes when another one is checked out.
#[derive(Debug, PartialEq)]
pub struct Commit {
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// The files that say so. All of them exist: of a missing one cargo assumes that it changes.
    pub files: Vec<PathBuf>,
}

/// The commit that is checked out in the folder `root`; `None` if that is no repository's, as the
/// sources of an archive are not.
pub fn find(root: &Path) -> Option<Commit> {
    let own = git_folder(root)?;
    // Branches of a linked worktree are those of the repository that it belongs to.
    let common = fs::read_to_string(own.join("commondir"));
    let common = common.map_or_else(|_| own.clone(), |path| own.join(path.trim()));
    let head = own.join("HEAD");
    let content = fs::read_to_string(&head).ok()?;
    let mut files = vec![head];
    let hash = match content.trim().strip_prefix("ref: ") {
        None => content.trim().to_owned(),
        Some(branch) => {
            let loose = common.join(branch);
            let packed = common.join("packed-refs");
            let (hash, file) = match fs::read_to_string(&loose) {
                Ok(hash) => (hash.trim().to_owned(), loose),
                Err(_) => (packed_hash(&fs::read_to_string(&packed).ok()?, branch)?, packed),
            };
            files.push(file);
            hash
        }
    };
    // The next commit on a packed branch writes a file that is not there yet; this one is.
    files.extend(Some(own.join("logs/HEAD")).filter(|log| log.is_file()));
    let is_hash = matches!(hash.len(), 40 | 64) && hash.bytes().all(|c| c.is_ascii_hexdigit());
    is_hash.then_some(Commit { hash, files })
}

/// Where git keeps what it knows of the folder `root`.
fn git_folder(root: &Path) -> Option<PathBuf> {
    let path = root.join(".git");
    if path.is_dir() {
        return Some(path);
    }
    let pointer = fs::read_to_string(path).ok()?;
    Some(root.join(pointer.trim().strip_prefix("gitdir: ")?))
}

/// The hash of a branch in a `packed-refs`: lines of a hash and a name.
fn packed_hash(packed: &str, branch: &str) -> Option<String> {
    let found = packed.lines().find_map(|line| line.strip_suffix(branch)?.strip_suffix(' '))?;
    Some(found.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";
    const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffff";

    /// A folder with files of these contents.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    /// Hash and names of the files for a repository of these files.
    fn found(files: &[(&str, &str)]) -> Option<(String, Vec<String>)> {
        let root = folder(files);
        let Commit { hash, files } = find(root.path())?;
        assert!(files.iter().all(|file| file.is_file()), "{files:?}");
        let name = |file: &PathBuf| {
            file.strip_prefix(root.path().join(".git")).unwrap().display().to_string()
        };
        Some((hash, files.iter().map(name).collect()))
    }

    #[test]
    fn a_branch_a_packed_branch_and_no_branch() {
        let branch = (".git/HEAD", "ref: refs/heads/a\n");
        let line = format!("{HASH}\n");
        let loose = (".git/refs/heads/a", line.as_str());
        let packed =
            format!("# pack-refs\n{OTHER} refs/heads/b/a\n{HASH} refs/heads/a\n^{OTHER}\n");
        let packed = (".git/packed-refs", packed.as_str());
        let log = (".git/logs/HEAD", "");
        let expect = |names: &[&str]| {
            Some((HASH.to_owned(), names.iter().map(ToString::to_string).collect::<Vec<_>>()))
        };
        assert_eq!(found(&[branch, loose]), expect(&["HEAD", "refs/heads/a"]));
        let stale = (".git/packed-refs", "ffff refs/heads/a\n");
        assert_eq!(found(&[branch, loose, stale]), expect(&["HEAD", "refs/heads/a"]));
        assert_eq!(found(&[branch, packed, log]), expect(&["HEAD", "packed-refs", "logs/HEAD"]));
        assert_eq!(found(&[(".git/HEAD", &line)]), expect(&["HEAD"]));
    }

    #[test]
    fn a_linked_worktree() {
        let root = folder(&[
            ("main/.git/refs/heads/a", HASH),
            ("main/.git/worktrees/w/HEAD", "ref: refs/heads/a\n"),
            ("main/.git/worktrees/w/commondir", "../..\n"),
            ("w/.git", "gitdir: ../main/.git/worktrees/w\n"),
        ]);
        assert_eq!(find(&root.path().join("w")).unwrap().hash, HASH);
    }

    #[test]
    fn no_repository_has_no_commit() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[(".git/HEAD", "ref: refs/heads/a\n")]), None);
        assert_eq!(found(&[(".git/HEAD", "rubbish")]), None);
        assert_eq!(found(&[(".git", "rubbish")]), None);
    }
}
