//! Buffers that are written for the first time by the threads that compute with them.

#![allow(unsafe_code, reason = "memory that is not written yet")]

use std::{
    mem::MaybeUninit,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::parallel::par_map;

/// Elements of a chunk of [`zeros`].
const ELEMENTS_PER_CHUNK: usize = 1 << 16;

/// Zeros, written by all threads: for what is not computed chunk by chunk.
pub(crate) fn zeros<T: Copy + Default + Send + Sync>(len: usize) -> Vec<T> {
    let mut buffer = Uninit::new(len);
    let chunks = buffer.chunks(ELEMENTS_PER_CHUNK).collect();
    par_map(len, chunks, |_, chunk: UninitChunk<'_, T>| {
        chunk.zeroed();
    });
    buffer.finish()
}

/// A buffer that is not initialised yet. Zeros from the allocator would go to main memory and come
/// back, where those of a chunk stay in the cache of the thread that goes on with them.
#[derive(Debug)]
pub(crate) struct Uninit<T> {
    values: Vec<T>,
    len: usize,
    written: AtomicUsize,
}

/// A part of a buffer, not initialised yet.
#[derive(Debug)]
pub(crate) struct UninitChunk<'a, T> {
    slots: &'a mut [MaybeUninit<T>],
    written: &'a AtomicUsize,
}

impl<T: Copy + Default> Uninit<T> {
    /// `len` elements.
    pub(crate) fn new(len: usize) -> Self {
        Self { values: Vec::with_capacity(len), len, written: AtomicUsize::new(0) }
    }

    /// All of it, in chunks of `size` elements; the last may be shorter.
    pub(crate) fn chunks(&mut self, size: usize) -> impl Iterator<Item = UninitChunk<'_, T>> {
        *self.written.get_mut() = 0;
        let written = &self.written;
        let slots = &mut self.values.spare_capacity_mut()[..self.len];
        slots.chunks_mut(size.max(1)).map(move |slots| UninitChunk { slots, written })
    }

    /// The vector.
    ///
    /// # Panics
    /// If not all chunks have been written.
    pub(crate) fn finish(mut self) -> Vec<T> {
        assert_eq!(*self.written.get_mut(), self.len, "every chunk is written");
        // SAFETY: there is room for `len` elements. Each was written: chunks are disjoint, each
        // counts once, and their count begins with the last time they were made.
        unsafe { self.values.set_len(self.len) };
        self.values
    }
}

impl<'a, T: Copy + Default> UninitChunk<'a, T> {
    /// The number of its elements.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Chunks of so many elements; the last may be shorter.
    pub(crate) fn chunks(self, size: usize) -> impl Iterator<Item = UninitChunk<'a, T>> {
        let Self { slots, written } = self;
        slots.chunks_mut(size.max(1)).map(move |slots| UninitChunk { slots, written })
    }

    /// Writes zeros.
    pub(crate) fn zeroed(self) -> &'a mut [T] {
        // SAFETY: all of them are written.
        unsafe { self.written(|slots| slots.fill(MaybeUninit::new(T::default()))) }
    }

    /// Lets `write` fill it.
    ///
    /// # Safety
    /// `write` writes every element.
    pub(crate) unsafe fn written(self, write: impl FnOnce(&mut [MaybeUninit<T>])) -> &'a mut [T] {
        self.written.fetch_add(self.slots.len(), Ordering::Relaxed);
        write(self.slots);
        // SAFETY: they have been written, as the caller promises.
        unsafe { self.slots.assume_init_mut() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_make_the_whole() {
        let mut buffer = Uninit::<u32>::new(10);
        for (i, chunk) in buffer.chunks(4).enumerate() {
            chunk.zeroed()[1] = i as u32 + 1;
        }
        assert_eq!(buffer.finish(), [0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert!(Uninit::<f32>::new(0).finish().is_empty());
    }

    #[test]
    #[should_panic(expected = "every chunk is written")]
    fn a_chunk_that_is_left_out_is_noticed() {
        let mut buffer = Uninit::<f32>::new(10);
        buffer.chunks(5).for_each(|chunk| chunk.zeroed()[0] = 1.0);
        buffer.chunks(5).skip(1).for_each(|chunk| chunk.zeroed()[0] = 1.0);
        buffer.finish();
    }
}
