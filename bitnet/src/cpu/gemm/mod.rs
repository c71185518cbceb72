//! Products of matrices: of 8-bit codes in integers; in 32 bits, in bfloat16 and in whole numbers of
//! 16 bits, of operands that are laid out in blocks first or lie in the cache.

pub(crate) mod blocked;
pub(crate) mod in_cache;
pub(crate) mod int8;
pub(crate) mod operands;
pub(crate) mod range;
pub(crate) mod tile;
mod tile_kernels;
pub(crate) mod word;
