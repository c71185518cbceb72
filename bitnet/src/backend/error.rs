use std::{path::PathBuf, str::FromStr};

use thiserror::Error;

use super::BackendKind;

/// A backend or a device that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No backend has that name.
    #[error("unknown backend \"{0}\" (known: {known})", known = BackendKind::names())]
    Unknown(String),
    /// The backend's cargo feature is off.
    #[error("backend \"{0}\" is not compiled in; rebuild with --features {0}")]
    NotCompiledIn(BackendKind),
    /// The backend finds no device at all, or not what it needs to look for one.
    #[error("backend \"{kind}\" finds no device: {reason}")]
    NoDevice {
        /// The backend.
        kind: BackendKind,
        /// What is missing, and what to do about it.
        reason: String,
    },
    /// The program was started with a LibTorch that it was not built for.
    #[error(
        "backend \"tch\" needs LibTorch {required}, and {} holds {found}; install torch=={required}.0 \
         and let LD_LIBRARY_PATH name its folder torch/lib",
        libraries.display()
    )]
    LibTorchVersion {
        /// The version found.
        found: String,
        /// The beginning of those that fit.
        required: &'static str,
        /// The folder of the libraries.
        libraries: PathBuf,
    },
    /// The name is none that a device could have.
    #[error(
        "unknown device \"{0}\"; a device is a number or a name as \"cpu\", \"cuda:0\" or \"gpu:1\""
    )]
    UnknownDevice(String),
    /// The backend has no such device.
    #[error("backend \"{kind}\" has no device {choice} (found: {found})")]
    DeviceNotFound {
        /// The backend.
        kind: BackendKind,
        /// What was asked for.
        choice: String,
        /// The devices there are.
        found: String,
    },
    /// The number of threads cannot be set.
    #[error("cannot compute on {threads} threads: {reason}")]
    Threads {
        /// The number asked for.
        threads: usize,
        /// Why not.
        reason: String,
    },
}

impl FromStr for BackendKind {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| BackendError::Unknown(name.into()))
    }
}
