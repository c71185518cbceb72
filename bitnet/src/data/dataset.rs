use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::{DataError, DataOptions, download::download};
use crate::{
    progress::{Progress, Silent},
    storage,
};

/// A corpus that is fetched by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Its name as a source.
    pub name: &'static str,
    /// Where it comes from. With a mirror, `mirror/download` instead.
    pub url: &'static str,
    /// Name of the file that is fetched; one that ends in `.zip` holds `file`.
    pub download: &'static str,
    /// Name of the file, in the folder of the datasets.
    pub file: &'static str,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: &'static str,
}

/// The datasets that can be fetched.
pub const DATASETS: [Dataset; 2] = [
    Dataset {
        name: "enwik8",
        url: "http://mattmahoney.net/dc/enwik8.zip",
        download: "enwik8.zip",
        file: "enwik8",
        bytes: 100_000_000,
        sha256: "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
    },
    Dataset {
        name: "tinyshakespeare",
        url: "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        download: "tinyshakespeare.txt",
        file: "tinyshakespeare.txt",
        bytes: 1_115_394,
        sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    },
];

/// The dataset of that name.
pub(super) fn find(name: &str) -> Option<&'static Dataset> {
    DATASETS.iter().find(|dataset| dataset.name == name)
}

/// The error of the source `name`, which is no dataset: where it could have been meant as one, with
/// those there are.
pub(super) fn named(name: &str, error: DataError) -> DataError {
    match error {
        DataError::Read { error, .. }
            if error.kind() == io::ErrorKind::NotFound && !name.contains(['.', '/', '\\']) =>
        {
            let names = ["kjv"].into_iter().chain(DATASETS.iter().map(|dataset| dataset.name));
            let datasets = names.collect::<Vec<_>>().join(", ");
            DataError::NoSuchSource { source_name: name.into(), error, datasets }
        }
        error => error,
    }
}

impl Dataset {
    /// The file, which is fetched unless it is there and whole. A download that was interrupted
    /// goes on where it stopped; what is there is replaced only by what has the right checksum.
    ///
    /// # Errors
    /// [`DataError`] if it cannot be fetched, is something else, or cannot be kept.
    pub fn fetch(
        &self,
        options: &DataOptions,
        progress: &dyn Progress,
    ) -> Result<PathBuf, DataError> {
        let folder = &options.datasets;
        let path = folder.join(self.file);
        if self.is_there(&path, &Silent)? {
            return Ok(path);
        }
        let archive = folder.join(self.download);
        if options.offline && !(self.is_zipped() && archive.exists()) {
            self.is_there(&path, progress)?;
            return Err(DataError::Offline { name: self.name, path });
        }
        let unwritable = |path: &Path| {
            let path = path.to_path_buf();
            move |error| DataError::Cache { path, error }
        };
        let waiting = || progress.say(&format!("waiting: {} is in use", folder.display()));
        let _lock = storage::lock_folder(folder, waiting).map_err(unwritable(folder))?;
        // Another process may have fetched it meanwhile.
        if self.is_there(&path, progress)? {
            return Ok(path);
        }
        if self.is_zipped() && archive.exists() {
            self.unzip(&archive, &path, &archive.display().to_string())?;
            return Ok(path);
        }

        let url = match &options.mirror {
            Some(mirror) => format!("{}/{}", mirror.trim_end_matches('/'), self.download),
            None => self.url.into(),
        };
        let part = folder.join(format!("{}.part", self.download));
        progress.say(&format!("downloading {} from {url}", self.name));
        let was_begun = fs::symlink_metadata(&part).is_ok_and(|metadata| metadata.len() > 0);
        let mut result = self.complete(&url, &part, &path, progress);
        if was_begun && matches!(result, Err(DataError::NotTheDataset { .. })) {
            progress.say(&format!("what was there of {} did not fit: once more", self.name));
            result = self.complete(&url, &part, &path, progress);
        }
        result?;
        Ok(path)
    }

    /// Fetches what is missing of `part`, and makes `path` from it. A part that turns out to be
    /// something else is removed.
    fn complete(
        &self,
        url: &str,
        part: &Path,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<(), DataError> {
        // No archive is larger than twice what it holds.
        download(url, part, 2 * self.bytes + (1 << 10), progress)?;
        let made =
            if self.is_zipped() { self.unzip(part, path, url) } else { self.check(part, url) };
        let unwritable = |error| DataError::Cache { path: path.into(), error };
        match made {
            Ok(()) if self.is_zipped() => fs::remove_file(part).map_err(unwritable),
            Ok(()) => make_way(path).and_then(|()| fs::rename(part, path)).map_err(unwritable),
            Err(error @ DataError::NotTheDataset { .. }) => {
                fs::remove_file(part).map_err(unwritable)?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    fn is_zipped(&self) -> bool {
        self.download.ends_with(".zip")
    }

    /// Whether the file is there and whole. That it is another one is told.
    fn is_there(&self, path: &Path, progress: &dyn Progress) -> Result<bool, DataError> {
        if fs::symlink_metadata(path).is_err() {
            return Ok(false);
        }
        match self.check(path, &path.display().to_string()) {
            Err(error @ DataError::NotTheDataset { .. }) => {
                progress.say(&error.to_string());
                Ok(false)
            }
            checked => checked.map(|()| true),
        }
    }

    fn check(&self, path: &Path, what: &str) -> Result<(), DataError> {
        let unreadable = |error| DataError::Read { path: path.into(), error };
        let file = storage::open_own(path, File::options().read(true)).map_err(unreadable)?;
        let sums = copy(file, self.bytes, &mut io::sink()).map_err(unreadable)?;
        self.compare(sums, what)
    }

    /// Unpacks the file from the archive `archive`, which came from `what`.
    fn unzip(&self, archive: &Path, path: &Path, what: &str) -> Result<(), DataError> {
        let unreadable = |error| DataError::Read { path: archive.into(), error };
        let other = |reason: String| self.other(what, reason);
        let file = storage::open_own(archive, File::options().read(true)).map_err(unreadable)?;
        let mut zip = ZipArchive::new(file).map_err(|error| other(error.to_string()))?;
        let mut entry = zip.by_name(self.file).map_err(|error| other(error.to_string()))?;
        let mut writing = Ok(());
        let made = storage::write_file_with(path, |file| -> io::Result<()> {
            let sums = copy(&mut entry, self.bytes, file)?;
            writing = self.compare(sums, what);
            // Nothing takes the name unless it is the dataset.
            writing.as_ref().map(|_| ()).map_err(|_| io::ErrorKind::InvalidData)?;
            make_way(path)
        });
        writing?;
        made.map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => other(error.to_string()),
            _ => DataError::Cache { path: path.into(), error },
        })
    }

    fn compare(&self, (bytes, sha256): (u64, String), what: &str) -> Result<(), DataError> {
        if bytes > self.bytes {
            return Err(self.other(what, format!("it is longer than {} bytes", self.bytes)));
        }
        if bytes < self.bytes {
            return Err(self.other(what, format!("it has {bytes} bytes, not {}", self.bytes)));
        }
        if sha256 != self.sha256 {
            return Err(self.other(what, format!("its SHA-256 is {sha256}, not {}", self.sha256)));
        }
        Ok(())
    }

    fn other(&self, what: &str, reason: String) -> DataError {
        DataError::NotTheDataset { what: what.into(), name: self.name, reason }
    }
}

/// Sets a file aside that is not the dataset, whatever else it may be.
fn make_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => storage::set_aside(path, "damaged").map(drop),
        Err(_) => Ok(()),
    }
}

/// Copies up to one byte more than `bytes`; returns their number and SHA-256.
fn copy(from: impl Read, bytes: u64, to: &mut impl Write) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut from = from.take(bytes + 1);
    let mut buffer = vec![0; 1 << 16];
    let mut copied = 0;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            let digits = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((copied, digits));
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        copied += read as u64;
    }
}
