use std::{fs::Metadata, io, path::PathBuf};

use thiserror::Error;

use super::Kind;

/// Why something is not opened or not written: what stands there is not what it should be. An
/// [`io::Error`] holds it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A regular file is wanted.
    #[error("it is {0}, not a regular file")]
    NoFile(Kind),
    /// A folder is wanted.
    #[error("it is {0}, not a folder")]
    NoFolder(Kind),
    /// It would replace what the same command did not make.
    #[error("it exists, and {reason}{}", if *.forcible { "; --force replaces it" } else { "" })]
    Foreign {
        /// Why it is not replaced.
        reason: String,
        /// Whether it would be if that were insisted on.
        forcible: bool,
    },
    /// It would replace what another process is writing.
    #[error("another process is writing there")]
    InUse,
    /// It would replace a folder that a program keeps, such as a run, or a part of one, or what
    /// holds one.
    #[error(
        "it is, holds or belongs to {0}, which a program keeps with a lock: choose another folder"
    )]
    Kept(PathBuf),
    /// It would replace what is read.
    #[error("it is, or holds, the input {0}")]
    HoldsInput(PathBuf),
    /// It would replace a part of what is read.
    #[error("it is a part of the input {0}")]
    InInput(PathBuf),
}

impl Refusal {
    /// The refusal in an error, if it is one.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Refuses what is no regular file.
pub(super) fn check_file(metadata: &Metadata) -> Result<(), Refusal> {
    match Kind::of(metadata.file_type()) {
        Kind::File => Ok(()),
        other => Err(Refusal::NoFile(other)),
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::NoFile(Kind::Folder) => io::ErrorKind::IsADirectory,
            Refusal::NoFolder(_) => io::ErrorKind::NotADirectory,
            Refusal::NoFile(_) => io::ErrorKind::InvalidInput,
            Refusal::InUse => io::ErrorKind::ResourceBusy,
            Refusal::Foreign { .. }
            | Refusal::Kept(_)
            | Refusal::HoldsInput(_)
            | Refusal::InInput(_) => io::ErrorKind::AlreadyExists,
        };
        Self::new(kind, refusal)
    }
}
