//! What computes [`tiles`](super::tile), for each kind of processor.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::tile::Kernel;
#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::{self, Isa, Vectors};

/// The kernel of words of one f32.
pub(super) fn kernel_f32() -> Kernel<f32> {
    #[cfg(target_arch = "x86_64")]
    match isa::vectors() {
        Vectors::Avx512 => return x86::AVX512,
        Vectors::Avx2 => return x86::AVX2,
        Vectors::Portable => {}
    }
    portable::KERNEL
}

/// The kernel of words of two bf16.
///
/// # Panics
/// If the processor has none.
pub(super) fn kernel_bf16() -> Kernel<u32> {
    #[cfg(target_arch = "x86_64")]
    if isa::has_bf16_products() {
        return x86::AVX512_BF16;
    }
    unreachable!("who calls this has asked the processor")
}

/// The kernel of words of two whole numbers.
///
/// # Panics
/// If the processor has none.
pub(super) fn kernel_int16() -> Kernel<i32> {
    #[cfg(target_arch = "x86_64")]
    match isa::vectors() {
        Vectors::Avx512 if Isa::Avx512Vnni.is_available() => return x86::AVX512_INT16,
        Vectors::Avx2 => return x86::AVX2_INT16,
        Vectors::Avx512 | Vectors::Portable => {}
    }
    unreachable!("who calls this has asked the processor")
}
