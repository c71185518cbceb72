use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path},
};

use anyhow::{Context, ensure};
use bitnet::storage::{open_own, read_own};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::training::hex::hex;

/// Its file.
pub(super) const NAME: &str = "manifest.json";

/// What a folder must hold: `manifest.json`, with the size and the SHA-256 of every other file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the folder's layout.
    pub format: u32,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Writes the manifest of the files that are in `folder`.
    ///
    /// # Errors
    /// If a file cannot be read, or the manifest not written.
    pub fn write(folder: &Path, format: u32) -> anyhow::Result<()> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            files.insert(name, Entry::of(&entry.path())?);
        }
        let manifest = serde_json::to_vec_pretty(&Self { format, files })?;
        fs::write(folder.join(NAME), manifest)?;
        Ok(())
    }

    /// Reads the manifest of `folder`.
    ///
    /// # Errors
    /// If it is missing or damaged.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let bytes = read_own(&folder.join(NAME)).context(NAME)?;
        serde_json::from_slice(&bytes).with_context(|| format!("{NAME} is damaged"))
    }

    /// Compares the files of `folder` with their sizes and sums.
    ///
    /// # Errors
    /// Names the first file that is missing or differs.
    pub fn check(&self, folder: &Path) -> anyhow::Result<()> {
        for (name, expected) in &self.files {
            let mut parts = Path::new(name).components();
            let is_within =
                matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
            ensure!(is_within, "{name:?} in {NAME} is not the name of a file beside it");
            let path = folder.join(name);
            let bytes = fs::symlink_metadata(&path).with_context(|| name.clone())?.len();
            ensure!(bytes == expected.bytes, "{name} has {bytes} bytes, not {}", expected.bytes);
            let actual = Entry::of(&path).with_context(|| name.clone())?;
            ensure!(actual == *expected, "the SHA-256 of {name} is not that of what was written");
        }
        Ok(())
    }
}

impl Entry {
    fn of(path: &Path) -> io::Result<Self> {
        let mut file = open_own(path, File::options().read(true))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut bytes = 0;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(Self { bytes, sha256: hex(&hash.finalize()) });
            }
            hash.update(&buffer[..read]);
            bytes += read as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "abc").unwrap();
        Manifest::write(folder.path(), 7).unwrap();
        let manifest = Manifest::read(folder.path()).unwrap();
        // The SHA-256 of "abc", from FIPS 180-2.
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(manifest.files["a"], Entry { bytes: 3, sha256: sum.into() });
        assert!(manifest.format == 7 && manifest.check(folder.path()).is_ok());

        let error = |text: Option<&str>| {
            match text {
                Some(text) => fs::write(&path, text).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            manifest.check(folder.path()).unwrap_err().to_string()
        };
        assert_eq!(error(Some("ab")), "a has 2 bytes, not 3");
        assert_eq!(error(Some("abd")), "the SHA-256 of a is not that of what was written");
        assert_eq!(error(None), "a");
        fs::write(folder.path().join(NAME), "{").unwrap();
        assert!(Manifest::read(folder.path()).is_err());
    }
}
