//! Which files a source names.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    path::{Component, Path, PathBuf},
};

use glob::Pattern;

use super::{
    DataError,
    kind::{Content, Kind},
};

/// The files of a source, in the order of their paths, each of them once.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: BTreeSet<PathBuf>,
    /// What a folder holds beside them.
    pub(super) left_out: BTreeSet<PathBuf>,
}

impl Found {
    /// A file, or every file below a folder but hidden ones and those that only describe the
    /// others.
    ///
    /// # Errors
    /// [`DataError::Read`].
    pub(super) fn at(path: &Path) -> Result<Self, DataError> {
        let mut walk = Walk::default();
        walk.take(path)?;
        Ok(walk.finish())
    }

    /// What a pattern matches, as [`at`](Self::at) finds it. A `**` stands for any number of
    /// folders. Links are followed, and no folder is searched twice for the same.
    ///
    /// # Errors
    /// [`DataError::Pattern`] and [`DataError::Read`].
    pub(super) fn matching(pattern: &str) -> Result<Self, DataError> {
        let error = |reason: String| DataError::Pattern { pattern: pattern.into(), reason };
        let mut walk = Walk { folders_only: pattern.ends_with('/'), ..Walk::default() };
        let mut base = PathBuf::new();
        let mut parts = Vec::new();
        for component in Path::new(pattern).components() {
            match component {
                Component::Normal(name) => {
                    let name = name.to_string_lossy();
                    parts.push(Part::new(&name).map_err(|e| error(e.to_string()))?);
                }
                // What leads a path, and the folder above in the midst of it.
                other if parts.is_empty() => base.push(other),
                other => parts.push(Part::Name(other.as_os_str().to_string_lossy().into())),
            }
        }
        walk.expand(&base, &parts)?;
        let found = walk.finish();
        if found.files.is_empty() {
            return Err(error("no file matches".into()));
        }
        Ok(found)
    }

    /// A line about what is left out of `source`.
    pub(super) fn line(&self, source: &str) -> Option<String> {
        const MAX_NAMES_SHOWN: usize = 4;
        let show = |path: &PathBuf| path.strip_prefix(source).unwrap_or(path).display().to_string();
        let mut names: Vec<_> = self.left_out.iter().take(MAX_NAMES_SHOWN).map(show).collect();
        if self.left_out.len() > MAX_NAMES_SHOWN {
            names.push(format!("{} more", self.left_out.len() - MAX_NAMES_SHOWN));
        }
        let last = names.pop()?;
        let names =
            if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) };
        Some(format!("{source}: without {names}"))
    }
}

/// A part of a pattern, between two slashes.
enum Part {
    /// As it stands.
    Name(String),
    /// The name of one file or folder.
    One(Pattern),
    /// Any number of folders.
    Folders,
}

impl Part {
    fn new(part: &str) -> Result<Self, glob::PatternError> {
        Ok(match part {
            "**" => Self::Folders,
            _ if part.contains(['*', '?', '[']) => Self::One(Pattern::new(part)?),
            _ => Self::Name(part.into()),
        })
    }
}

/// What a folder is searched for: all, or what so many parts of a pattern match.
type Search = Option<usize>;

#[derive(Default)]
struct Walk {
    files: BTreeSet<PathBuf>,
    left_out: BTreeSet<PathBuf>,
    /// Files below folders that may only describe the others.
    cards: Vec<PathBuf>,
    searched: HashSet<(Identity, Search)>,
    folders_only: bool,
}

impl Walk {
    /// What the remaining parts of a pattern match below `base`.
    fn expand(&mut self, base: &Path, parts: &[Part]) -> Result<(), DataError> {
        let Some((part, rest)) = parts.split_first() else {
            return self.take(base);
        };
        match part {
            Part::Name(name) => {
                let path = base.join(name);
                if path.exists() { self.expand(&path, rest) } else { Ok(()) }
            }
            Part::One(pattern) => {
                for path in entries(base)? {
                    // What is no UTF-8 in a name is one character to a pattern.
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    if pattern.matches(&name) && (rest.is_empty() || path.is_dir()) {
                        self.expand(&path, rest)?;
                    }
                }
                Ok(())
            }
            Part::Folders => {
                if !self.is_first_search(base, Some(parts.len()))? {
                    return Ok(());
                }
                self.expand(base, rest)?;
                for path in entries(base)?.iter().filter(|path| path.is_dir()) {
                    self.expand(path, parts)?;
                }
                Ok(())
            }
        }
    }

    /// Takes a file, whatever it is called, or a folder.
    fn take(&mut self, path: &Path) -> Result<(), DataError> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        if fs::metadata(path).map_err(|error| unreadable(path, error))?.is_dir() {
            return self.take_folder(path);
        }
        if !self.folders_only {
            self.files.insert(path.into());
        }
        Ok(())
    }

    fn take_folder(&mut self, folder: &Path) -> Result<(), DataError> {
        if !self.is_first_search(folder, None)? {
            return Ok(());
        }
        for path in entries(folder)? {
            if is_hidden(&path) {
                self.left_out.insert(path);
                continue;
            }
            let kind = fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
            if kind.is_dir() {
                self.take_folder(&path)?;
            } else if kind.is_file() {
                if is_card(&path) && !self.files.contains(&path) {
                    self.cards.push(path.clone());
                }
                self.files.insert(path);
            } else {
                self.left_out.insert(path);
            }
        }
        Ok(())
    }

    fn is_first_search(&mut self, folder: &Path, search: Search) -> Result<bool, DataError> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if !folder.is_dir() {
            return Ok(false);
        }
        let identity = identity(folder).map_err(|error| unreadable(folder, error))?;
        Ok(self.searched.insert((identity, search)))
    }

    fn finish(mut self) -> Found {
        let (cards, mut others) = (std::mem::take(&mut self.cards), self.files.clone());
        for card in &cards {
            others.remove(card);
        }
        for card in cards.into_iter().filter(|card| describes(card, &others)) {
            self.files.remove(&card);
            self.left_out.insert(card);
        }
        // A pattern may name what a folder leaves out.
        self.left_out.retain(|path| !self.files.contains(path));
        Found { files: self.files, left_out: self.left_out }
    }
}

/// What is in a folder, in order; nothing, if it is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let base = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !base.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(base).map_err(|error| unreadable(base, error))?;
    let path = |entry: io::Result<fs::DirEntry>| Ok(folder.join(entry?.file_name()));
    let mut entries = entries
        .map(path)
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| unreadable(base, error))?;
    entries.sort();
    Ok(entries)
}

fn unreadable(path: &Path, error: io::Error) -> DataError {
    DataError::Read { path: path.into(), error }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Whether a name is one of those that hubs give to what describes a dataset.
fn is_card(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_ascii_lowercase();
    name == "readme.md" || name == "dataset_infos.json"
}

/// Whether a card describes what lies beside and below it: files of records, or what was fetched
/// from a hub.
fn describes(card: &Path, others: &BTreeSet<PathBuf>) -> bool {
    let Some(folder) = card.parent() else { return false };
    let mut below =
        others.range(folder.to_path_buf()..).take_while(|path| path.starts_with(folder));
    below.any(|path| Kind::named(path).content != Content::Text)
        || [".gitattributes", ".cache/huggingface"].iter().any(|name| folder.join(name).exists())
            && (has_front_matter(card) || Kind::named(card).content == Content::Json)
}

/// As the README of a dataset begins.
fn has_front_matter(card: &Path) -> bool {
    let mut line = [0; 4];
    let read =
        super::open(card).is_ok_and(|mut file| io::Read::read_exact(&mut file, &mut line).is_ok());
    read && line.starts_with(b"---") && matches!(line[3], b'\n' | b'\r')
}

/// What tells a folder from all others, by whatever path it was reached.
#[cfg(unix)]
type Identity = (u64, u64);
/// What tells a folder from all others, by whatever path it was reached.
#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(unix)]
fn identity(folder: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(folder)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(folder: &Path) -> io::Result<Identity> {
    fs::canonicalize(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Root(tempfile::TempDir);

    impl Root {
        fn new(files: &[&str]) -> Self {
            let root = Self(tempfile::tempdir().unwrap());
            for file in files {
                let path = root.path(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "text").unwrap();
            }
            root
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn names(&self, paths: &BTreeSet<PathBuf>) -> Vec<String> {
            let name = |path: &PathBuf| path.strip_prefix(self.0.path()).unwrap().to_owned();
            paths.iter().map(|path| name(path).to_string_lossy().into_owned()).collect()
        }

        fn matching(&self, pattern: &str) -> Vec<String> {
            let pattern = self.path(pattern);
            self.names(&Found::matching(pattern.to_str().unwrap()).unwrap().files)
        }

        fn below(&self, folder: &str) -> (Vec<String>, Vec<String>) {
            let found = Found::at(&self.path(folder)).unwrap();
            (self.names(&found.files), self.names(&found.left_out))
        }
    }

    #[test]
    fn patterns_match_each_file_once_and_in_order() {
        let files =
            ["a.txt", "b.md", "c/a.txt", "c/d/b.txt", "c/d/.h.txt", "e/x/y.txt", "c.txt/z.txt"];
        let root = Root::new(&files);
        assert_eq!(root.matching("*.txt"), ["a.txt", "c.txt/z.txt"]);
        assert_eq!(root.matching("*/a.txt"), ["c/a.txt"]);
        assert_eq!(root.matching("c/*/b.txt"), ["c/d/b.txt"]);
        assert_eq!(root.matching("[ab].*"), ["a.txt", "b.md"]);
        assert_eq!(root.matching("?.md"), ["b.md"]);
        assert_eq!(root.matching("*/"), ["c/a.txt", "c/d/b.txt", "c.txt/z.txt", "e/x/y.txt"]);
        // Folders match, too, and what they hold is not taken twice.
        let all =
            ["a.txt", "b.md", "c/a.txt", "c/d/.h.txt", "c/d/b.txt", "c.txt/z.txt", "e/x/y.txt"];
        assert_eq!(root.matching("**/*"), all);
        let visible: Vec<_> = all.into_iter().filter(|name| !name.contains(".h")).collect();
        assert_eq!(root.matching("**"), visible);
        assert_eq!(root.matching("**/d/*.txt"), ["c/d/.h.txt", "c/d/b.txt"]);
        assert_eq!(root.matching("c/../e/**/*.txt"), ["c/../e/x/y.txt"]);
        for (pattern, expected) in [("*.zip", "no file matches"), ("[a", ""), ("**x", "")] {
            let pattern = root.path(pattern);
            let error = Found::matching(pattern.to_str().unwrap()).unwrap_err();
            assert!(matches!(error, DataError::Pattern { .. }), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_in_circles_end() {
        let root = Root::new(&["t.txt", "c/t.txt"]);
        for name in ["a", "b", "c/a", "c/b"] {
            std::os::unix::fs::symlink(root.path(""), root.path(name)).unwrap();
        }
        assert_eq!(root.matching("**/*.txt"), ["c/t.txt", "t.txt"]);
        assert_eq!(root.below("").0, ["c/t.txt", "t.txt"]);
        assert_eq!(root.matching("a/b/c/*.txt"), ["a/b/c/t.txt"]);
        std::os::unix::fs::symlink("nowhere", root.path("gone.txt")).unwrap();
        assert!(matches!(Found::at(&root.path("")), Err(DataError::Read { .. })));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_no_utf_8_match() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let root = Root::new(&["b.txt"]);
        fs::write(root.0.path().join(OsStr::from_bytes(b"a\xff.txt")), "text").unwrap();
        assert_eq!(root.matching("*.txt"), ["a\u{fffd}.txt", "b.txt"]);
        assert_eq!(root.matching("a?.txt"), ["a\u{fffd}.txt"]);
        assert_eq!(root.below("").0.len(), 2);
    }

    #[test]
    fn folders_say_what_they_leave_out() {
        let root =
            Root::new(&["data/a.jsonl", "README.md", ".gitattributes", "dataset_infos.json"]);
        let (files, left_out) = root.below("");
        assert_eq!(files, ["data/a.jsonl"]);
        assert_eq!(left_out, [".gitattributes", "README.md", "dataset_infos.json"]);
        let source = root.path("");
        let line = Found::at(&source).unwrap().line(source.to_str().unwrap()).unwrap();
        assert!(
            line.ends_with(": without .gitattributes, README.md and dataset_infos.json"),
            "{line}"
        );
        // Whoever names one means it.
        assert_eq!(root.matching("*.md"), ["README.md"]);

        // In a folder of texts it is one of them, unless a hub says otherwise.
        let root = Root::new(&["t/a.txt", "t/README.md", "h/a.txt", "h/.gitattributes"]);
        fs::write(root.path("h/README.md"), "---\nlicense: mit\n---\n").unwrap();
        assert_eq!(root.below("t"), (vec!["t/README.md".into(), "t/a.txt".into()], vec![]));
        assert_eq!(root.below("h").0, ["h/a.txt"]);
        assert_eq!(Found::at(&root.path("t")).unwrap().line("t"), None);
        let many: Vec<String> = (0..7).map(|n| format!(".{n}")).collect();
        let root = Root::new(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let line = Found::at(&root.path("")).unwrap().line(root.path("").to_str().unwrap());
        assert!(line.unwrap().ends_with(": without .0, .1, .2, .3 and 3 more"));
    }
}
