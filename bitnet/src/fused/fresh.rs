//! Memory that is written for the first time by those who compute with it.

#![allow(unsafe_code, reason = "memory that is not written yet")]

use std::{
    mem::MaybeUninit,
    sync::atomic::{AtomicUsize, Ordering},
};

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
    /// Writes zeros.
    pub(super) fn zeroed(self) -> &'a mut [T] {
        self.written.fetch_add(self.slots.len(), Ordering::Relaxed);
        self.slots.fill(MaybeUninit::new(T::default()));
        // SAFETY: all of them are written.
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
