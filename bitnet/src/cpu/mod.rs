//! Arithmetic over slices, without a tensor or a backend: what training on Flex and packed
//! inference compute with.
//!
//! Loops that vector units help with are compiled for several of them (`vectorized!`) or written
//! for some, and chosen by [`isa`] alone. All of them compute the same numbers, to the bit.

#![cfg_attr(
    not(all(feature = "flex", target_arch = "x86_64")),
    allow(dead_code, reason = "packed inference and other processors use a part")
)]

pub(crate) mod absmax;
pub(crate) mod absmean;
pub(crate) mod adamw;
pub(crate) mod attention;
pub(crate) mod column_blocks;
pub(crate) mod cross_entropy;
pub(crate) mod encode;
pub(crate) mod float;
pub(crate) mod gate;
pub(crate) mod gemm;
pub(crate) mod isa;
pub(crate) mod kernels;
pub(crate) mod norm;
pub(crate) mod parallel;
pub(crate) mod peak;
pub(crate) mod reduce;
pub(crate) mod rope;
pub(crate) mod softmax;
pub(crate) mod uninit;
mod vectorized;

use vectorized::vectorized;
