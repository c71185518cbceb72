//! An allocator that keeps large blocks.

#![allow(unsafe_code, reason = "an allocator hands out raw memory")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ptr::{self, NonNull},
    sync::{Mutex, PoisonError},
};

/// Blocks from this size on are kept.
const MIN_KEPT_BYTES: usize = 1 << 12;
/// Blocks below this size come from the kernel many at a time, and are kept always.
const MIN_BYTES_OF_OWN_MAPPING: usize = 1 << 18;
/// Bytes of such blocks.
const BYTES_PER_SLAB: usize = 1 << 21;
/// Alignment of every block: half a page, as some are a page and a half.
const ALIGN: usize = 1 << 11;
/// Sizes are rounded up to one of so many steps between two powers of two.
const SIZES_PER_DOUBLING: usize = 2;
/// Sizes that blocks can have.
const SIZE_CLASSES: usize =
    (usize::BITS - MIN_KEPT_BYTES.trailing_zeros()) as usize * SIZES_PER_DOUBLING;

/// The system's allocator, but for large blocks: those are not given back to the system when they
/// are freed, but to the next that asks for as much.
///
/// A training step allocates what the step before has freed. The system's allocator returns such
/// blocks to the kernel, which has to clear and map every page of them again: a quarter of a step.
/// On Linux blocks are in huge pages besides, where the kernel has them.
///
/// In use and kept is at most twice what was in use at once, but for blocks below 256 KiB.
///
/// ```
/// #[global_allocator]
/// static BLOCKS: bitnet::memory::KeepBlocks = bitnet::memory::KeepBlocks::new();
/// ```
#[derive(Debug)]
pub struct KeepBlocks(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    /// For each size the last block that was freed. A block begins with the address of the one
    /// before.
    last: [usize; SIZE_CLASSES],
    /// Bytes of those, bytes in use, and the most that was in use.
    free: usize,
    used: usize,
    most: usize,
}

impl KeepBlocks {
    /// Nothing is kept yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Kept { last: [0; SIZE_CLASSES], free: 0, used: 0, most: 0 }))
    }

    /// A block that was kept, for a class of this size.
    fn take(&self, class: usize, size: usize) -> Option<NonNull<u8>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.used += size;
        kept.most = kept.most.max(kept.used);
        let block = NonNull::new(kept.last[class] as *mut usize)?;
        // SAFETY: a block that is free begins with an address, which `keep` has written.
        kept.last[class] = unsafe { block.read() };
        kept.free -= size;
        Some(block.cast())
    }

    /// Keeps a block, unless that is too much.
    ///
    /// # Safety
    /// Nobody uses the block, which is `size` bytes.
    unsafe fn keep(&self, block: *mut u8, class: usize, size: usize) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.used -= size;
        if size >= MIN_BYTES_OF_OWN_MAPPING && kept.used + kept.free + size > 2 * kept.most {
            return false;
        }
        // SAFETY: nobody uses the block, as the caller promises.
        unsafe { kept.push(block, class, size) };
        true
    }

    /// Zeroed memory from the kernel: a block, or null.
    fn new_block(&self, class: usize, size: usize) -> *mut u8 {
        if size >= MIN_BYTES_OF_OWN_MAPPING {
            return pages::new(size);
        }
        let slab = pages::new(BYTES_PER_SLAB);
        if !slab.is_null() {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for start in (size..=BYTES_PER_SLAB - size).step_by(size) {
                // SAFETY: a part of the slab, which nobody has but this.
                unsafe { kept.push(slab.add(start), class, size) };
            }
        }
        slab
    }
}

impl Kept {
    /// Keeps a block.
    ///
    /// # Safety
    /// Nobody uses the block, which is `size` bytes.
    unsafe fn push(&mut self, block: *mut u8, class: usize, size: usize) {
        // SAFETY: blocks are larger than an address, and aligned to one.
        unsafe { block.cast::<usize>().write(self.last[class]) };
        self.last[class] = block as usize;
        self.free += size;
    }
}

impl Default for KeepBlocks {
    fn default() -> Self {
        Self::new()
    }
}

/// The class of a size, and the size of its blocks; `None` where blocks are not kept.
fn class(layout: Layout) -> Option<(usize, usize)> {
    if layout.size() < MIN_KEPT_BYTES || layout.align() > ALIGN {
        return None;
    }
    let power = layout.size().ilog2();
    let step = 1 << power >> SIZES_PER_DOUBLING.trailing_zeros();
    let size = layout.size().checked_next_multiple_of(step)?;
    let above = (size - (1 << power)) / step;
    Some(((power - MIN_KEPT_BYTES.trailing_zeros()) as usize * SIZES_PER_DOUBLING + above, size))
        .filter(|(class, _)| *class < SIZE_CLASSES)
}

// SAFETY: blocks come from the system, as large as their class or as was asked for, and are handed
// out to one at a time: what is kept was freed.
unsafe impl GlobalAlloc for KeepBlocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            Some((class, size)) => {
                self.take(class, size).map_or_else(|| self.new_block(class, size), NonNull::as_ptr)
            }
            // SAFETY: the layout is the caller's, who keeps the contract of `GlobalAlloc`.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some((class, size)) = class(layout) else {
            // SAFETY: the layout is the caller's, who keeps the contract of `GlobalAlloc`.
            return unsafe { System.alloc_zeroed(layout) };
        };
        match self.take(class, size) {
            Some(block) => {
                // SAFETY: the block is at least as large.
                unsafe { ptr::write_bytes(block.as_ptr(), 0, layout.size()) };
                block.as_ptr()
            }
            None => self.new_block(class, size),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from here with the same layout, and nobody uses it any more.
        unsafe {
            match class(layout) {
                Some((class, size)) => {
                    if !self.keep(block, class, size) {
                        pages::free(block, size);
                    }
                }
                None => System.dealloc(block, layout),
            }
        }
    }
}

/// Zeroed memory from the kernel.
#[cfg(target_os = "linux")]
mod pages {
    use std::ptr::null_mut;

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    /// Size of a page.
    const ALIGN: usize = 4096;
    /// Size of a huge page.
    const HUGE: usize = 1 << 21;

    /// A block, or null.
    pub(super) fn new(size: usize) -> *mut u8 {
        let (flags, all) = (MapFlags::PRIVATE, ProtFlags::READ | ProtFlags::WRITE);
        let room = if size < HUGE { size } else { size.saturating_add(HUGE) };
        // SAFETY: a new mapping, anywhere. What is cut off is part of it.
        unsafe {
            let Ok(start) = mmap_anonymous(null_mut(), room, all, flags) else {
                return null_mut();
            };
            let start = start.cast::<u8>();
            if size < HUGE {
                return start;
            }
            let before = start.align_offset(HUGE);
            let block = start.add(before);
            let end = size.next_multiple_of(ALIGN);
            // Neither failure does harm.
            if before > 0 {
                let _ = munmap(start.cast(), before);
            }
            let behind = room.next_multiple_of(ALIGN) - before - end;
            if behind > 0 {
                let _ = munmap(block.add(end).cast(), behind);
            }
            let _ = madvise(block.cast(), size, Advice::LinuxHugepage);
            block
        }
    }

    /// Returns a block to the system.
    ///
    /// # Safety
    /// It is one of `new`, of the same size, and nobody uses it.
    pub(super) unsafe fn free(block: *mut u8, size: usize) {
        // SAFETY: the block is one of `new` that nobody uses, as the caller promises. Where it
        // fails the memory is lost, which is safe.
        let _ = unsafe { munmap(block.cast(), size) };
    }
}

#[cfg(not(target_os = "linux"))]
mod pages {
    use std::alloc::{GlobalAlloc, Layout, System};

    /// Size of a page.
    const ALIGN: usize = 4096;

    fn layout(size: usize) -> Option<Layout> {
        Layout::from_size_align(size, ALIGN).ok()
    }

    /// A block, or null.
    pub(super) fn new(size: usize) -> *mut u8 {
        // SAFETY: a size above zero.
        layout(size).map_or(std::ptr::null_mut(), |layout| unsafe { System.alloc_zeroed(layout) })
    }

    /// Returns a block to the system.
    ///
    /// # Safety
    /// It is one of `new`, of the same size, and nobody uses it.
    pub(super) unsafe fn free(block: *mut u8, size: usize) {
        if let Some(layout) = layout(size) {
            // SAFETY: `new` made the block with this layout, and nobody uses it, as the caller
            // promises.
            unsafe { System.dealloc(block, layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(size: usize) -> Layout {
        Layout::from_size_align(size, 64).unwrap()
    }

    #[test]
    fn classes_are_in_order_and_large_enough() {
        assert_eq!(class(bytes(MIN_KEPT_BYTES - 1)), None);
        assert_eq!(class(Layout::from_size_align(MIN_KEPT_BYTES, 2 * ALIGN).unwrap()), None);
        let mut before = (0, MIN_KEPT_BYTES);
        for size in (MIN_KEPT_BYTES..1 << 24).step_by(777) {
            let (class, room) = class(bytes(size)).unwrap();
            assert!(room >= size && room <= size + size / SIZES_PER_DOUBLING, "{room} for {size}");
            assert!(class == before.0 && room == before.1 || class > before.0 && room > before.1);
            before = (class, room);
        }
        // Between two steps, and on one.
        assert_eq!(
            class(bytes(MIN_KEPT_BYTES + 1)),
            Some((1, MIN_KEPT_BYTES + MIN_KEPT_BYTES / SIZES_PER_DOUBLING))
        );
        assert_eq!(
            class(bytes(MIN_KEPT_BYTES + MIN_KEPT_BYTES / SIZES_PER_DOUBLING)),
            Some((1, MIN_KEPT_BYTES + MIN_KEPT_BYTES / SIZES_PER_DOUBLING))
        );
        assert_eq!(
            class(bytes(2 * MIN_KEPT_BYTES)),
            Some((SIZES_PER_DOUBLING, 2 * MIN_KEPT_BYTES))
        );
        assert_eq!(
            class(bytes(2 * MIN_KEPT_BYTES - 1)),
            Some((SIZES_PER_DOUBLING, 2 * MIN_KEPT_BYTES))
        );
    }

    #[test]
    fn a_freed_block_is_handed_out_again_and_zeroed_where_it_must_be() {
        let blocks = KeepBlocks::new();
        for size in [MIN_KEPT_BYTES, 6_000, 100_000, MIN_BYTES_OF_OWN_MAPPING, 5 << 20] {
            let layout = bytes(size);
            // SAFETY: each block is used within its size, and freed once, with its layout.
            unsafe {
                let first = blocks.alloc_zeroed(layout);
                let second = blocks.alloc(layout);
                assert_ne!(first, second);
                assert!((0..size).all(|i| *first.add(i) == 0));
                first.write_bytes(7, size);
                blocks.dealloc(first, layout);
                let again = blocks.alloc_zeroed(layout);
                assert_eq!(again, first);
                assert!((0..size).all(|i| *again.add(i) == 0));
                blocks.dealloc(second, layout);
                blocks.dealloc(again, layout);
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded_by_what_was_used() {
        let blocks = KeepBlocks::new();
        for i in 0..40 {
            let layout = bytes(1 << (20 + i % 5));
            // SAFETY: freed at once, with its layout.
            unsafe { blocks.dealloc(blocks.alloc(layout), layout) };
            let kept = blocks.0.lock().unwrap();
            assert_eq!(kept.used, 0);
            assert!(kept.free <= 2 * kept.most);
        }
    }
}
