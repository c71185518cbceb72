use std::{
    ops::{Deref, Range},
    sync::Arc,
};

use bytemuck::Pod;
use memmap2::{Mmap, MmapMut};

/// Bytes from which on an array is put into pages of its own.
const MIN_BYTES_OF_OWN_PAGES: usize = 1 << 20;

/// Numbers of packed weights: in memory of their own, or in pages that are mapped, from a file or
/// not. Clones of the latter share it.
#[derive(Debug, Clone)]
pub(crate) enum Array<T> {
    Owned(Vec<T>),
    Mapped { map: Arc<Mmap>, bytes: Range<usize> },
}

impl<T: Pod> Array<T> {
    /// A part of a file; `None` if it is not of whole numbers at a place where they can stand.
    pub(super) fn mapped(file: &Arc<Mmap>, bytes: Range<usize>) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, T>(file.get(bytes.clone())?).ok()?;
        Some(Self::Mapped { map: file.clone(), bytes })
    }

    /// `len` zeros that `fill` overwrites. Large arrays ask for large pages, where the system has
    /// them: a processor reads no further ahead than its page.
    pub(super) fn filled(len: usize, fill: impl FnOnce(&mut [T])) -> Self {
        let bytes = len * size_of::<T>();
        let map = (bytes >= MIN_BYTES_OF_OWN_PAGES).then(|| MmapMut::map_anon(bytes));
        let Some(Ok(mut map)) = map else {
            let mut values = vec![T::zeroed(); len];
            fill(&mut values);
            return Self::Owned(values);
        };
        // A system without them has the usual ones.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        fill(bytemuck::cast_slice_mut(&mut map));
        match map.make_read_only() {
            Ok(map) => Self::Mapped { map: Arc::new(map), bytes: 0..bytes },
            Err(error) => unreachable!("own pages can be made read-only: {error}"),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        bytemuck::cast_slice(self)
    }
}

impl<T> From<Vec<T>> for Array<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Owned(values)
    }
}

impl<T: Pod> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            // Checked when it was mapped: that it fits cannot change.
            Self::Mapped { map, bytes } => bytemuck::cast_slice(&map[bytes.clone()]),
        }
    }
}
