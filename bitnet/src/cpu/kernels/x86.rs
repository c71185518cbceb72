//! The x86-64 kernels, by what the processor says it can.

use std::{arch::x86_64::__cpuid, sync::OnceLock};

use half::bf16;

use super::{
    avx2, avx512,
    float::{self, Float, KEYS_PER_PANEL},
    table::Kernels,
};
use crate::cpu::isa::Isa;

/// The kernels of `isa`, if this processor can run them.
pub(super) fn kernels(isa: Isa) -> Option<&'static Kernels> {
    let index = usize::from(wants_prefetch());
    tables(isa).map(|tables| &tables[index])
}

/// The kernels of `isa` without and with prefetches.
pub(super) fn tables(isa: Isa) -> Option<&'static [Kernels; 2]> {
    if !isa.is_available() {
        return None;
    }
    match isa {
        Isa::Avx2 => Some(&AVX2),
        Isa::AvxVnni => Some(&AVX_VNNI),
        Isa::Avx512Vnni => Some(&AVX512_VNNI),
        _ => None,
    }
}

/// Whether prefetching pays. Intel's server cores read a panel a quarter to a third faster with it;
/// AMD's Zen 4 looks ahead far enough by itself, and is up to a fifth slower with it. Asked once:
/// on virtual machines the processor's answer takes long.
fn wants_prefetch() -> bool {
    static IS_INTEL: OnceLock<bool> = OnceLock::new();
    *IS_INTEL.get_or_init(|| {
        let vendor = __cpuid(0);
        [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
    })
}

/// Compiles the float loops for processors with a feature, whose registers hold as many keys and
/// columns of each of four queries as are given.
macro_rules! float {
    ($feature:literal, $part:literal, $wide:literal) => {{
        #[target_feature(enable = $feature)]
        fn dot(a: &[f32], b: &[f32]) -> f32 {
            float::dot(a, b)
        }
        #[target_feature(enable = $feature)]
        fn dot_bf16(a: &[f32], b: &[bf16]) -> f32 {
            float::dot(a, b)
        }
        #[target_feature(enable = $feature)]
        fn scores(
            queries: &[&[f32]],
            keys: &[[f32; KEYS_PER_PANEL]],
            stride: usize,
            out: &mut [f32],
        ) {
            float::scores::<_, $part>(queries, keys, stride, out);
        }
        #[target_feature(enable = $feature)]
        fn scores_int8(
            queries: &[&[f32]],
            keys: &[[i8; KEYS_PER_PANEL]],
            stride: usize,
            out: &mut [f32],
        ) {
            float::scores::<_, $part>(queries, keys, stride, out);
        }
        #[target_feature(enable = $feature)]
        fn softmax(x: &mut [f32]) -> f32 {
            float::softmax(x)
        }
        #[target_feature(enable = $feature)]
        fn weighted_sum(weights: &[f32], values: &[f32], stride: usize, out: &mut [&mut [f32]]) {
            float::weighted_sum::<_, $wide>(weights, values, stride, out);
        }
        #[target_feature(enable = $feature)]
        fn weighted_sum_int8(
            weights: &[f32],
            values: &[i8],
            stride: usize,
            out: &mut [&mut [f32]],
        ) {
            float::weighted_sum::<_, $wide>(weights, values, stride, out);
        }
        Float { dot, dot_bf16, scores, scores_int8, softmax, weighted_sum, weighted_sum_int8 }
    }};
}

macro_rules! kernels {
    (
        $isa:ident, $($module:ident)::+, $few:expr, $features:literal, $part:literal, $wide:literal
    ) => {[
        kernels!($isa, $($module)::+, $few, $features, $part, $wide, false),
        kernels!($isa, $($module)::+, $few, $features, $part, $wide, true),
    ]};
    (
        $isa:ident, $($module:ident)::+, $few:expr, $features:literal, $part:literal,
        $wide:literal, $prefetch:literal
    ) => {
        Kernels {
            isa: Isa::$isa,
            ternary_gemv: $($module)::+::ternary_gemv::<$prefetch>,
            gemm: $($module)::+::gemm,
            ternary_gemm: $few,
            int8_gemv: $($module)::+::int8_gemv::<$prefetch>,
            float: float!($features, $part, $wide),
        }
    };
}

static AVX2: [Kernels; 2] = kernels!(Avx2, avx2::plain, None, "avx2,fma", 16, 16);
static AVX_VNNI: [Kernels; 2] = kernels!(AvxVnni, avx2::vnni, None, "avx2,fma", 16, 16);
static AVX512_VNNI: [Kernels; 2] =
    kernels!(Avx512Vnni, avx512, Some(avx512::ternary_gemm), "avx512f,avx512bw,fma", 32, 64);
