use std::{
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use memmap2::Mmap;

use super::DataError;

/// A sequence of tokens, in memory or in a file mapped into it. Clones and slices share it.
#[derive(Debug, Clone)]
pub struct Tokens {
    storage: Arc<Storage>,
    part: Range<usize>,
}

#[derive(Debug)]
enum Storage {
    Memory(Vec<u32>),
    Mapped(TokenMap),
}

/// The tokens of a file that is mapped into memory, where another process may change them.
#[derive(Debug)]
pub(super) struct TokenMap {
    pub(super) map: Mmap,
    /// Bytes before the first token.
    pub(super) header: usize,
    /// Bytes of a token, 2 or 4, little-endian.
    pub(super) width: usize,
    /// Every token is below this.
    pub(super) vocabulary: usize,
    pub(super) path: PathBuf,
    /// Whether one was read that is not.
    pub(super) changed: AtomicBool,
}

impl TokenMap {
    /// A token that is one of the vocabulary, whatever is in the file by now.
    fn token(&self, bytes: &[u8]) -> u32 {
        let token = number(bytes);
        if (token as usize) < self.vocabulary {
            return token;
        }
        self.changed.store(true, Ordering::Relaxed);
        0
    }
}

impl Tokens {
    /// The first `len` tokens of a file.
    pub(super) fn mapped(map: TokenMap, len: usize) -> Self {
        Self { storage: Arc::new(Storage::Mapped(map)), part: 0..len }
    }

    /// Checks that what was read so far is what was there at first, as far as the vocabulary tells.
    /// Where a file holds something else by now, reading returns token 0, and this the error.
    ///
    /// # Errors
    /// [`DataError::Changed`].
    pub fn check(&self) -> Result<(), DataError> {
        match &*self.storage {
            Storage::Mapped(map) if map.changed.load(Ordering::Relaxed) => {
                Err(DataError::Changed(map.path.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.part.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.part.is_empty()
    }

    /// The stretch `range`, which must lie within.
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self { storage: self.storage.clone(), part: self.absolute(range) }
    }

    /// The tokens of the stretch `range`, which must lie within.
    pub fn range(&self, range: Range<usize>) -> impl Iterator<Item = u32> {
        let range = self.absolute(range);
        let (memory, mapped) = match &*self.storage {
            Storage::Memory(tokens) => (&tokens[range], None),
            Storage::Mapped(file) => {
                let TokenMap { map, header, width, .. } = file;
                let bytes = header + range.start * width..header + range.end * width;
                let tokens = map[bytes].chunks_exact(*width).map(|bytes| file.token(bytes));
                (&[][..], Some(tokens))
            }
        };
        memory.iter().copied().chain(mapped.into_iter().flatten())
    }

    /// All tokens.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.range(0..self.len())
    }

    fn absolute(&self, range: Range<usize>) -> Range<usize> {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {}", self.len());
        self.part.start + range.start..self.part.start + range.end
    }
}

fn number(bytes: &[u8]) -> u32 {
    match *bytes {
        [a, b] => u16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
        _ => unreachable!("tokens have two or four bytes"),
    }
}

impl From<Vec<u32>> for Tokens {
    fn from(tokens: Vec<u32>) -> Self {
        let part = 0..tokens.len();
        Self { storage: Arc::new(Storage::Memory(tokens)), part }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_slices() {
        let tokens = Tokens::from((0..20).collect::<Vec<_>>()).slice(5..15);
        assert_eq!((tokens.len(), tokens.is_empty()), (10, false));
        assert_eq!(tokens.range(2..5).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(tokens.slice(8..10).iter().collect::<Vec<_>>(), [13, 14]);
        assert!(tokens.slice(10..10).is_empty());
    }

    #[test]
    #[should_panic(expected = "9..11 of 10")]
    fn beyond_a_slice_is_nothing() {
        let tokens = Tokens::from((0..20).collect::<Vec<_>>()).slice(5..15);
        tokens.range(9..11).for_each(drop);
    }
}
