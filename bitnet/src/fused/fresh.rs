//! Memory that is written for the first time by those who compute with it.

#![allow(unsafe_code, reason = "memory that is not written yet")]

use std::{
    mem::MaybeUninit,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::rows::share;

/// Elements that are one piece of [`zeros`].
const PIECE: usize = 1 << 16;

/// Zeros, written by all threads: for what is not computed piece by piece.
pub(super) fn zeros<T: Copy + Default + Send + Sync>(len: usize) -> Vec<T> {
    let mut fresh = Fresh::new(len);
    let pieces = fresh.pieces(PIECE).collect();
    share(len, pieces, |_, piece: Piece<'_, T>| {
        piece.zeroed();
    });
    fresh.finish()
}

/// A vector to be. Zeros from the allocator would go to main memory and come back, where those of
/// a piece stay in the cache of the thread that goes on with them.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    values: Vec<T>,
    len: usize,
    written: AtomicUsize,
}

/// A part of a vector to be.
#[derive(Debug)]
pub(super) struct Piece<'a, T> {
    slots: &'a mut [MaybeUninit<T>],
    written: &'a AtomicUsize,
}

impl<T: Copy + Default> Fresh<T> {
    /// `len` elements.
    pub(super) fn new(len: usize) -> Self {
        Self { values: Vec::with_capacity(len), len, written: AtomicUsize::new(0) }
    }

    /// All of it, in pieces of `size` elements; the last may be shorter.
    pub(super) fn pieces(&mut self, size: usize) -> impl Iterator<Item = Piece<'_, T>> {
        *self.written.get_mut() = 0;
        let written = &self.written;
        let slots = &mut self.values.spare_capacity_mut()[..self.len];
        slots.chunks_mut(size.max(1)).map(move |slots| Piece { slots, written })
    }

    /// The vector.
    ///
    /// # Panics
    /// If not all pieces have been written.
    pub(super) fn finish(mut self) -> Vec<T> {
        assert_eq!(*self.written.get_mut(), self.len, "every piece is written");
        // SAFETY: there is room for `len` elements. Each was written: pieces are disjoint, each
        // counts once, and their count begins with the last time they were made.
        unsafe { self.values.set_len(self.len) };
        self.values
    }
}

impl<'a, T: Copy + Default> Piece<'a, T> {
    /// The number of its elements.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Parts of so many elements; the last may be shorter.
    pub(super) fn parts(self, size: usize) -> impl Iterator<Item = Piece<'a, T>> {
        let Self { slots, written } = self;
        slots.chunks_mut(size.max(1)).map(move |slots| Piece { slots, written })
    }

    /// Writes zeros.
    pub(super) fn zeroed(self) -> &'a mut [T] {
        // SAFETY: all of them are written.
        unsafe { self.written(|slots| slots.fill(MaybeUninit::new(T::default()))) }
    }

    /// Has it written.
    ///
    /// # Safety
    /// `write` writes every element.
    pub(super) unsafe fn written(self, write: impl FnOnce(&mut [MaybeUninit<T>])) -> &'a mut [T] {
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
    fn pieces_make_the_whole() {
        let mut fresh = Fresh::<u32>::new(10);
        for (i, piece) in fresh.pieces(4).enumerate() {
            piece.zeroed()[1] = i as u32 + 1;
        }
        assert_eq!(fresh.finish(), [0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        assert!(Fresh::<f32>::new(0).finish().is_empty());
    }

    #[test]
    #[should_panic(expected = "every piece is written")]
    fn a_piece_that_is_left_out_is_noticed() {
        let mut fresh = Fresh::<f32>::new(10);
        fresh.pieces(5).for_each(|piece| piece.zeroed()[0] = 1.0);
        fresh.pieces(5).skip(1).for_each(|piece| piece.zeroed()[0] = 1.0);
        fresh.finish();
    }
}
