//! The inner loops of integer products and of attention to a KV cache, one file for each kind of
//! processor, behind one table of functions.
//!
//! # Numbers
//!
//! Weights are unsigned bytes or parts of bytes, inputs signed bytes, sums `i32`. Sums wrap, as
//! integers modulo 2³² do: they are exact whenever the last of them fits, whatever was in between.
//! Ternary codes are `w + 1`, so that with `n` inputs of magnitude at most 127 the exact sum
//! `Σ w·x` lies within `±127·n`, which fits for every `n ≤ 2²⁴` (the largest layer there can be).

#![allow(unsafe_code, reason = "kernels for processors that have been asked")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod float;
mod layout;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
mod table;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::cpu::isa::Isa;

pub(crate) use self::{
    float::{KEYS_PER_PANEL, QUERIES_PER_PASS},
    layout::{
        Block, INPUTS_PER_INT8_BLOCK, INPUTS_PER_TERNARY_BLOCK, OUTPUTS_PER_PANEL, Rows, Sums,
        TOKENS_PER_TILE,
    },
    table::Kernels,
};

impl Kernels {
    /// The kernels of `isa`, if this processor can run them.
    pub(crate) fn of(isa: Isa) -> Option<&'static Self> {
        match isa {
            Isa::Scalar => Some(&scalar::KERNELS),
            #[cfg(target_arch = "x86_64")]
            _ => x86::kernels(isa),
            #[cfg(target_arch = "aarch64")]
            _ => neon::kernels(isa),
            #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
            _ => None,
        }
    }

    /// Every table that this processor can run, the scalar one first.
    #[cfg(test)]
    fn all() -> Vec<&'static Self> {
        let mut all = vec![&scalar::KERNELS];
        #[cfg(target_arch = "x86_64")]
        all.extend(Isa::ALL.into_iter().filter_map(x86::tables).flatten());
        #[cfg(target_arch = "aarch64")]
        all.extend(Isa::ALL.into_iter().filter_map(neon::kernels));
        all
    }

    /// Those of [`Isa::best`].
    pub(crate) fn best() -> &'static Self {
        Self::of(Isa::best()).unwrap_or(&scalar::KERNELS)
    }
}
