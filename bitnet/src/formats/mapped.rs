use std::{
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
};

use memmap2::Mmap;

use super::FormatError;
use crate::storage::open_input;

/// A file in memory, read where it is looked at.
#[derive(Debug)]
pub(super) struct Mapped {
    map: Mmap,
}

impl Mapped {
    pub(super) fn open(path: &Path) -> Result<Self, FormatError> {
        let read = |error| FormatError::Read { path: path.into(), error };
        let file = open_input(path).map_err(read)?;
        #[expect(unsafe_code, reason = "mapping a file is unsafe: another process may change it")]
        // SAFETY: model files are replaced by renaming, here and by the programs they come from.
        // What is read is checked at its use; a file that is cut short while it is mapped ends the
        // process (`storage::end_with_a_line`).
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        Ok(Self { map })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Lets the system have back the memory of a range that has been read.
    #[cfg(unix)]
    pub(super) fn release(&self, range: Range<usize>) {
        use memmap2::UncheckedAdvice;
        #[expect(unsafe_code, reason = "other kinds of mappings would lose what was written")]
        // SAFETY: nothing is written to this mapping of a file, whose pages are read again if need
        // be. A system that does not follow the advice holds more memory, no more.
        let _ = unsafe {
            self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len())
        };
    }

    #[cfg(not(unix))]
    pub(super) fn release(&self, _range: Range<usize>) {}
}

/// Reads a text file of at most `max` bytes, [without its mark](without_mark).
pub(crate) fn read_text(path: &Path, max: u64) -> Result<String, FormatError> {
    let read = |error| FormatError::Read { path: path.into(), error };
    let mut text = String::new();
    open_input(path).map_err(read)?.take(max + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > max {
        return Err(FormatError::damaged(&name_of(path), format!("it has more than {max} bytes")));
    }
    Ok(without_mark(&text).into())
}

/// A text without the byte order mark that some editors put before it, and JSON has no place for.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The last part of a path, for messages.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| PathBuf::from(path), PathBuf::from).display().to_string()
}
