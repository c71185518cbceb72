use std::path::PathBuf;

use super::{DataError, kind::Kind};

/// What a corpus is read from, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// The embedded King James Bible.
    Kjv,
    File(PathBuf, Kind),
}

/// The King James Bible, as `data/kjv.txt.gz`.
#[cfg(feature = "kjv")]
pub(super) fn kjv() -> Result<&'static [u8], DataError> {
    Ok(include_bytes!("../../../data/kjv.txt.gz"))
}

/// The King James Bible, which is not compiled in.
#[cfg(not(feature = "kjv"))]
pub(super) fn kjv() -> Result<&'static [u8], DataError> {
    Err(DataError::NotCompiledIn("kjv"))
}
