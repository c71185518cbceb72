use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{
    Refusal,
    kept::{is_in_use, keeper},
    kind::Kind,
    parent,
    recover::recover_abandoned,
    write::{make_file, make_folder, replace_folder},
};

/// What a command writes, and how an earlier one of its making is known.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    /// Why anything else is not replaced, after "it exists, and": "is no earlier report".
    pub reason: &'static str,
    /// Whether the file or folder is one, by its content.
    pub is_one: fn(&Path) -> io::Result<bool>,
}

/// Where a user wants something written. What is there is replaced only if it is an earlier one of
/// the same product, or if a user insists; never if it is no regular file or folder, and never if
/// something is read from it meanwhile.
#[derive(Debug, Clone)]
pub struct Output {
    path: PathBuf,
    inputs: Vec<PathBuf>,
    force: Option<bool>,
}

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    File,
    Folder,
}

/// What has to make way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Old {
    Nothing,
    EmptyFolder,
    Product,
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Output {
    fn from(path: &P) -> Self {
        Self::new(path.as_ref())
    }
}

impl Output {
    /// At `path`.
    pub fn new(path: &Path) -> Self {
        let path = match path.file_name() {
            // Without a separator at its end, after which a link would be what it leads to.
            Some(_) => path.components().collect(),
            // `.` and `..` are within what they name: nothing takes their place.
            None => path.canonicalize().unwrap_or_else(|_| path.into()),
        };
        Self { path, inputs: Vec::new(), force: None }
    }

    /// With these as what is read to make it.
    pub fn reading<P: AsRef<Path>>(mut self, inputs: impl IntoIterator<Item = P>) -> Self {
        self.inputs.extend(inputs.into_iter().map(|input| input.as_ref().into()));
        self
    }

    /// Where it can be insisted on that anything is replaced, and whether it is.
    pub fn forced(mut self, force: bool) -> Self {
        self.force = Some(force);
        self
    }

    /// Where it goes.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks whether a file can be written: before work that would be in vain.
    ///
    /// # Errors
    /// Any I/O error, a [`Refusal`] among them.
    pub fn check_file(&self, product: &Product) -> io::Result<()> {
        self.check(product, Shape::File).map(drop)
    }

    /// As [`check_file`](Self::check_file), for a folder.
    ///
    /// # Errors
    /// As [`check_file`](Self::check_file).
    pub fn check_folder(&self, product: &Product) -> io::Result<()> {
        self.check(product, Shape::Folder).map(drop)
    }

    /// Writes a file with what `fill` writes, all or nothing.
    ///
    /// # Errors
    /// As [`check_file`](Self::check_file), and `fill`'s; what was there is then as it was.
    pub fn write_file<T, E: From<io::Error>>(
        &self,
        product: &Product,
        fill: impl FnOnce(&mut File) -> Result<T, E>,
    ) -> Result<T, E> {
        recover_abandoned(parent(&self.path));
        self.check(product, Shape::File)?;
        let name = |file: tempfile::NamedTempFile| -> Result<(), E> {
            // Another one may have come meanwhile.
            let file = match self.check(product, Shape::File)? {
                Old::Nothing => match file.persist_noclobber(&self.path) {
                    Ok(_) => return Ok(()),
                    // Not every file system can.
                    Err(refused) if refused.error.kind() != io::ErrorKind::AlreadyExists => {
                        self.check(product, Shape::File)?;
                        refused.file
                    }
                    Err(taken) => return Err(taken.error.into()),
                },
                Old::EmptyFolder | Old::Product => file,
            };
            file.persist(&self.path).map_err(|error| error.error)?;
            Ok(())
        };
        make_file(&self.path, fill, name)
    }

    /// Writes a folder with what `fill` writes into it, all or nothing: see
    /// [`write_folder`](super::write_folder).
    ///
    /// # Errors
    /// As [`check_folder`](Self::check_folder), and `fill`'s; what was there is then as it was.
    pub fn write_folder<E: From<io::Error>>(
        &self,
        product: &Product,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        recover_abandoned(parent(&self.path));
        self.check(product, Shape::Folder)?;
        let name = |new: &Path| -> Result<(), E> {
            match self.check(product, Shape::Folder)? {
                // Nothing that is not empty is replaced by a rename.
                Old::Nothing => fs::rename(new, &self.path)?,
                Old::EmptyFolder | Old::Product => replace_folder(new, &self.path)?,
            }
            Ok(())
        };
        make_folder(&self.path, fill, name)
    }

    fn check(&self, product: &Product, shape: Shape) -> io::Result<Old> {
        match (Kind::at(&self.path)?, shape) {
            (None, _) => return Ok(Old::Nothing),
            (Some(Kind::File), Shape::File) | (Some(Kind::Folder), Shape::Folder) => {}
            (Some(other), Shape::File) => return Err(Refusal::NoFile(other).into()),
            (Some(other), Shape::Folder) => return Err(Refusal::NoFolder(other).into()),
        }
        let path = self.path.canonicalize()?;
        if shape == Shape::Folder && is_in_use(&path)? {
            return Err(Refusal::InUse.into());
        }
        let mut part_of = None;
        // What is not there cannot be lost; that it is missing is said where it is read.
        let inputs = self.inputs.iter().flat_map(|input| with_links(input));
        for input in inputs.filter_map(|input| input.canonicalize().ok()) {
            if input.starts_with(&path) {
                return Err(Refusal::HoldsInput(input).into());
            }
            if path.starts_with(&input) {
                part_of = Some(input);
            }
        }
        if shape == Shape::Folder && fs::read_dir(&path)?.next().is_none() {
            return Ok(Old::EmptyFolder);
        }
        if (product.is_one)(&path)? {
            return Ok(Old::Product);
        }
        match (self.force, part_of) {
            (Some(true), None) => match keeper(&path)? {
                Some(keeper) => Err(Refusal::Kept(keeper).into()),
                None => Ok(Old::Product),
            },
            (Some(true), Some(input)) => Err(Refusal::InInput(input).into()),
            (force, _) => {
                let forcible = force.is_some() && keeper(&path)?.is_none();
                let reason = product.reason.into();
                Err(Refusal::Foreign { reason, forcible }.into())
            }
        }
    }
}

/// An input and, if it is a folder, the links in it: what they lead to is read, too.
fn with_links(input: &Path) -> Vec<PathBuf> {
    let mut all = vec![input.to_owned()];
    if let Ok(entries) = fs::read_dir(input) {
        let paths = entries.flatten().map(|entry| entry.path());
        all.extend(paths.filter(|path| matches!(Kind::at(path), Ok(Some(Kind::Link)))));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::storage::read_own;

    const FILE: Product = Product {
        reason: "is no earlier note",
        is_one: |path| Ok(read_own(path)?.starts_with(b"note")),
    };
    const FOLDER: Product =
        Product { reason: "is no earlier box", is_one: |path| Ok(path.join("box").exists()) };

    fn file(to: &Output, text: &str) -> io::Result<()> {
        to.write_file(&FILE, |file| file.write_all(text.as_bytes()))
    }

    fn folder(to: &Output, text: &str) -> io::Result<()> {
        to.write_folder(&FOLDER, |folder| fs::write(folder.join("box"), text))
    }

    fn refusal(result: io::Result<()>) -> Refusal {
        Refusal::of(&result.unwrap_err()).unwrap().clone()
    }

    fn foreign(product: Product, forcible: bool) -> Refusal {
        Refusal::Foreign { reason: product.reason.into(), forcible }
    }

    #[test]
    fn own_products_are_replaced_and_others_only_by_force() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let at = |name: &str| Output::new(&path(name));
        let text = |name: &str| fs::read_to_string(path(name)).unwrap();
        for round in ["note 1", "note 2"] {
            file(&at("note"), round).unwrap();
            folder(&at("box"), round).unwrap();
            assert_eq!((text("note"), text("box/box")), (round.into(), round.into()));
        }
        fs::write(path("theirs"), "thesis").unwrap();
        fs::create_dir_all(path("mine/deep")).unwrap();
        fs::create_dir(path("empty")).unwrap();
        assert_eq!(refusal(file(&at("theirs"), "x")), foreign(FILE, false));
        assert_eq!(refusal(folder(&at("mine"), "x")), foreign(FOLDER, false));
        assert_eq!(refusal(file(&at("theirs").forced(false), "x")), foreign(FILE, true));
        assert_eq!(refusal(folder(&at("theirs").forced(true), "x")), Refusal::NoFolder(Kind::File));
        assert_eq!(refusal(file(&at("mine").forced(true), "x")), Refusal::NoFile(Kind::Folder));
        assert!(text("theirs") == "thesis" && path("mine/deep").exists());
        folder(&at("empty"), "x").unwrap();
        folder(&at("empty/."), "y").unwrap();
        fs::create_dir(path("empty/deep")).unwrap();
        folder(&at("empty/deep/.."), "z").unwrap();
        assert_eq!(text("empty/box"), "z");
        file(&at("theirs").forced(true), "x").unwrap();
        folder(&at("mine").forced(true), "x").unwrap();
        assert!(text("theirs") == "x" && text("mine/box") == "x" && !path("mine/deep").exists());
    }

    #[test]
    fn what_a_program_keeps_is_not_replaced_by_force() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("run/checkpoints/step-1")).unwrap();
        fs::write(path("run/metrics.csv"), "step").unwrap();
        let at = |name: &str| Output::new(&path(name)).forced(true);
        for holder in ["process 12", ""] {
            fs::write(path("run/lock"), holder).unwrap();
            let kept = Refusal::Kept(path("run").canonicalize().unwrap());
            assert_eq!(refusal(folder(&at("run/checkpoints"), "x")), kept);
            assert_eq!(refusal(folder(&at("run/checkpoints/../checkpoints"), "x")), kept);
            assert_eq!(refusal(file(&at("run/metrics.csv"), "x")), kept);
            // The whole of it, and what it is in.
            for whole in ["run", "run/.", "."] {
                assert_eq!(refusal(folder(&at(whole), "x")), kept, "{whole}");
            }
            let unforced = Output::new(&path("run")).forced(false);
            assert_eq!(refusal(folder(&unforced, "x")), foreign(FOLDER, false));
        }
        file(&at("run/note"), "note 1").unwrap();
        file(&at("run/note"), "note 2").unwrap();
        fs::write(path("run/lock"), "of my locker").unwrap();
        folder(&at("run/checkpoints"), "x").unwrap();
    }

    #[test]
    fn inputs_and_failures_lose_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("run/model")).unwrap();
        fs::write(path("run/model/box"), "input").unwrap();
        let at = |name: &str| Output::new(&path(name)).reading([path("run/model")]).forced(true);
        for holder in ["run", "run/model", "run/../run/model/", "run/."] {
            assert!(
                matches!(refusal(folder(&at(holder), "x")), Refusal::HoldsInput(_)),
                "{holder}"
            );
        }
        fs::write(path("run/model/part"), "input").unwrap();
        assert!(matches!(refusal(file(&at("run/model/part"), "x")), Refusal::InInput(_)));
        // A product of its own within may be replaced, and a new one made.
        file(&at("run/model/note"), "note 1").unwrap();
        file(&at("run/model/note"), "note 2").unwrap();

        let failed: io::Result<()> = at("run/model/note").write_file(&FILE, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "full");
        assert_eq!(fs::read(path("run/model/note")).unwrap(), b"note 2");
        // What has come since it was looked at is not replaced either.
        let late: io::Result<()> =
            at("late").forced(false).write_file(&FILE, |_| fs::write(path("late"), "theirs"));
        assert_eq!(refusal(late), foreign(FILE, true));
        assert_eq!(fs::read(path("late")).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }

    #[test]
    #[cfg(unix)]
    fn what_links_of_an_input_lead_to_is_an_input() {
        use std::os::unix::fs::symlink;

        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("store")).unwrap();
        fs::create_dir(path("model")).unwrap();
        fs::write(path("store/box"), "weights").unwrap();
        symlink("../store/box", path("model/weights")).unwrap();
        let at = |name: &str| Output::new(&path(name)).reading([path("model")]).forced(true);
        assert!(matches!(refusal(file(&at("store/box"), "x")), Refusal::HoldsInput(_)));
        assert!(matches!(refusal(folder(&at("store"), "x")), Refusal::HoldsInput(_)));
        assert_eq!(fs::read(path("store/box")).unwrap(), b"weights");
    }

    #[test]
    fn a_folder_that_is_written_to_is_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("run");
        let lock = crate::storage::lock_folder(&run, || {}).unwrap();
        fs::write(run.join("box"), "run").unwrap();
        assert_eq!(refusal(folder(&Output::new(&run).forced(true), "x")), Refusal::InUse);
        drop(lock);
        folder(&Output::new(&run).forced(true), "x").unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn links_and_pipes_stay_what_they_are() {
        use std::os::unix::fs::symlink;

        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("victim"), "note").unwrap();
        fs::create_dir(path("folder")).unwrap();
        symlink("victim", path("link")).unwrap();
        symlink("folder", path("folders")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        let pipe = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(pipe.success());
        for (name, kind) in [
            ("link", Kind::Link),
            ("folders", Kind::Link),
            ("folders/", Kind::Link),
            ("dangling", Kind::Link),
            ("pipe", Kind::Pipe),
        ] {
            let to = Output::new(&path(name)).forced(true);
            assert_eq!(refusal(file(&to, "x")), Refusal::NoFile(kind), "{name}");
            assert_eq!(refusal(folder(&to, "x")), Refusal::NoFolder(kind), "{name}");
        }
        assert_eq!(fs::read(path("victim")).unwrap(), b"note");
        assert!(!path("nowhere").exists());
    }
}
