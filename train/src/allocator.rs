//! What the allocator does with memory that is freed.
//!
//! A training step allocates what the step before has freed. The system's allocator gives such blocks
//! back to the kernel, which has to clear and map every page of them again, and mimalloc does so a
//! little later. It keeps them here, for as long as the process lives.

#![allow(unsafe_code, reason = "an option of the allocator's C interface")]

use libmimalloc_sys::{mi_option_set, mi_option_t, mi_option_use_numa_nodes};

/// `mi_option_purge_delay` in mimalloc.h, which is the option before this one.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;

/// Has freed memory kept for the next that asks for it. For the beginning of the program.
pub fn keep_freed_memory() {
    // SAFETY: an option that exists, set before any other thread is there.
    unsafe { mi_option_set(PURGE_DELAY, -1) };
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    fn the_option_is_the_delay() {
        // Its default, in milliseconds, is no other option's: until it is set.
        // SAFETY: an option that exists.
        let of = |option| unsafe { mi_option_get(option) };
        assert_eq!(of(PURGE_DELAY), 1000);
        keep_freed_memory();
        assert_eq!(of(PURGE_DELAY), -1);
    }
}
