use std::{
    ops::{Deref, Range},
    sync::Arc,
};

use bytemuck::Pod;
use memmap2::Mmap;

/// Numbers of packed weights: in memory of their own, or a part of a file that is mapped into it.
/// Clones of the latter share it.
#[derive(Debug, Clone)]
pub(crate) enum Array<T> {
    Owned(Vec<T>),
    Mapped { file: Arc<Mmap>, bytes: Range<usize> },
}

impl<T: Pod> Array<T> {
    /// A part of a file; `None` if it is not of whole numbers at a place where they can stand.
    pub(super) fn mapped(file: &Arc<Mmap>, bytes: Range<usize>) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, T>(file.get(bytes.clone())?).ok()?;
        Some(Self::Mapped { file: file.clone(), bytes })
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
            Self::Mapped { file, bytes } => bytemuck::cast_slice(&file[bytes.clone()]),
        }
    }
}
