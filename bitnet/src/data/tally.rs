use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::DataError;

/// Invalid bytes of a file's thousand that are worth a line.
const MIN_INVALID_PER_MILLE: u64 = 1;

/// Counts what is no text, to say it in one line.
#[derive(Debug)]
pub(super) struct Tally {
    skip_bad: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Rows without a text, and where the first one is.
    without: u64,
    first_without: Option<String>,
    /// Bad rows, and what the first one is.
    bad: u64,
    first_bad: Option<String>,
    /// Files with much that is no UTF-8, and the first of them.
    invalid: u64,
    first_invalid: Option<String>,
}

impl Tally {
    /// A tally that lets `skip_bad` bad rows pass.
    pub(super) fn new(skip_bad: u64) -> Self {
        Self { skip_bad, counts: Mutex::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        act(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A row has no text.
    pub(super) fn without(&self, path: &Path, unit: &str, number: u64) {
        self.with(|counts| {
            counts.without += 1;
            let place = || format!("{}, {unit} {number}", path.display());
            counts.first_without.get_or_insert_with(place);
        });
    }

    /// A row is bad.
    ///
    /// # Errors
    /// The error of the row, if it is one too many.
    pub(super) fn bad(&self, error: DataError) -> Result<(), DataError> {
        self.with(|counts| {
            if counts.bad == self.skip_bad {
                return Err(match error {
                    DataError::Row { path, unit, number, reason } => {
                        let hint = format!("data.skip_bad passes over so many such {unit}s");
                        DataError::Row { path, unit, number, reason: format!("{reason}; {hint}") }
                    }
                    other => other,
                });
            }
            counts.bad += 1;
            counts.first_bad.get_or_insert_with(|| error.to_string());
            Ok(())
        })
    }

    /// A line about all that was passed over or looks wrong.
    pub(super) fn line(&self) -> Option<String> {
        self.with(|counts| {
            let mut parts = Vec::new();
            if let Some(first) = &counts.first_without {
                let rows = plural(counts.without, "row");
                parts.push(format!("passed over: {rows} without a text (the first: {first})"));
            }
            if let Some(first) = &counts.first_bad {
                let rows = plural(counts.bad, "bad row");
                let lead = if parts.is_empty() { "passed over: " } else { "" };
                parts.push(format!("{lead}{rows} (the first: {first})"));
            }
            if let Some(first) = &counts.first_invalid {
                let others = match counts.invalid {
                    1 => String::new(),
                    many => format!(", and so have {}", plural(many - 1, "other file")),
                };
                parts.push(format!("{first}{others}: its bytes are learned as they are"));
            }
            (!parts.is_empty()).then(|| parts.join("; "))
        })
    }
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Counts the bytes of a text file that are no UTF-8.
pub(super) struct Validity {
    path: PathBuf,
    tally: Arc<Tally>,
    bytes: u64,
    invalid: u64,
}

impl Validity {
    pub(super) fn new(path: &Path, tally: Arc<Tally>) -> Self {
        Self { path: path.into(), tally, bytes: 0, invalid: 0 }
    }

    pub(super) fn count(&mut self, text: &[u8]) {
        self.bytes += text.len() as u64;
        // Most is valid, and then this is many times as fast.
        if std::str::from_utf8(text).is_err() {
            let invalid = text.utf8_chunks().map(|chunk| chunk.invalid().len() as u64);
            self.invalid += invalid.sum::<u64>();
        }
    }

    /// Tells the tally, at the end of the file.
    pub(super) fn finish(&mut self) {
        let (bytes, invalid) = (self.bytes, self.invalid);
        if invalid * 1000 <= bytes * MIN_INVALID_PER_MILLE {
            return;
        }
        self.tally.with(|counts| {
            counts.invalid += 1;
            counts.first_invalid.get_or_insert_with(|| {
                let percent = 100.0 * invalid as f64 / bytes as f64;
                format!("{} has {percent:.1} % that is no UTF-8", self.path.display())
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_that_is_no_utf_8_is_said() {
        let line = |files: &[(&str, Vec<u8>)]| {
            let tally = Arc::new(Tally::new(0));
            for (name, bytes) in files {
                let mut validity = Validity::new(name.as_ref(), tally.clone());
                bytes.chunks(1000).for_each(|chunk| validity.count(chunk));
                validity.finish();
            }
            tally.line()
        };
        let text = |bad: usize| [vec![0xe9; bad], vec![b'a'; 10_000 - bad]].concat();
        assert_eq!(line(&[("a", text(0)), ("b", text(10)), ("c", Vec::new())]), None);
        let expected = "a has 2.0 % that is no UTF-8: its bytes are learned as they are";
        assert_eq!(line(&[("a", text(200))]).unwrap(), expected);
        let two = line(&[("a", text(200)), ("b", text(11))]).unwrap();
        assert!(two.contains("no UTF-8, and so have 1 other file: its bytes"), "{two}");
    }
}
