//! How many multiplications with addition a core does a second where nothing is read or written:
//! loops over registers, against which the kernels of products are measured.

#![allow(unsafe_code, reason = "vector intrinsics, for processors that have been asked")]

use std::time::{Duration, Instant};

/// Rounds between two looks at the clock.
const ROUNDS_PER_READING: usize = 20_000;

/// Of 8-bit codes times ternary ones, as sums of 16 or 32 bits.
pub(crate) fn int8(budget: Duration) -> Option<f64> {
    best(budget, x86::int8()?)
}

/// Of values in 32 bits.
pub(crate) fn f32(budget: Duration) -> Option<f64> {
    best(budget, x86::f32()?)
}

/// Of pairs in bf16.
pub(crate) fn bf16(budget: Duration) -> Option<f64> {
    best(budget, x86::bf16()?)
}

/// Of pairs of whole numbers of 16 bits, as sums of 32 bits.
pub(crate) fn int16(budget: Duration) -> Option<f64> {
    best(budget, x86::int16()?)
}

/// Does its rounds, and returns the multiplications of one.
type Rounds = fn() -> usize;

/// The highest rate of several readings.
fn best(budget: Duration, rounds: Rounds) -> Option<f64> {
    let started = Instant::now();
    let mut best = 0.0_f64;
    while started.elapsed() < budget {
        let reading = Instant::now();
        let done = rounds() * ROUNDS_PER_READING;
        best = best.max(done as f64 / reading.elapsed().as_secs_f64());
    }
    Some(best)
}

/// Loops for other processors are not written.
#[cfg(not(target_arch = "x86_64"))]
mod x86 {
    use super::Rounds;

    pub(super) fn int8() -> Option<Rounds> {
        None
    }

    pub(super) fn f32() -> Option<Rounds> {
        None
    }

    pub(super) fn bf16() -> Option<Rounds> {
        None
    }

    pub(super) fn int16() -> Option<Rounds> {
        None
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{
        arch::{asm, x86_64::*},
        hint::black_box,
    };

    use super::{ROUNDS_PER_READING, Rounds};
    use crate::cpu::isa::{self, Isa, Vectors};

    /// A loop whose instructions the processor has been asked for.
    macro_rules! asked {
        ($name:ident) => {
            // SAFETY: the processor has been asked.
            Some(|| unsafe { $name() })
        };
    }

    pub(super) fn int8() -> Option<Rounds> {
        match Isa::best() {
            Isa::Avx512Vnni => asked!(int8_avx512_vnni),
            Isa::AvxVnni => asked!(int8_avx_vnni),
            Isa::Avx2 => asked!(int8_avx2),
            _ => None,
        }
    }

    pub(super) fn f32() -> Option<Rounds> {
        match isa::vectors() {
            Vectors::Avx512 => asked!(f32_avx512),
            Vectors::Avx2 => asked!(f32_avx2),
            Vectors::Portable => None,
        }
    }

    pub(super) fn bf16() -> Option<Rounds> {
        if isa::has_bf16_products() { asked!(bf16_avx512) } else { None }
    }

    pub(super) fn int16() -> Option<Rounds> {
        match isa::vectors() {
            Vectors::Avx512 if Isa::Avx512Vnni.is_available() => asked!(int16_avx512_vnni),
            Vectors::Avx2 => asked!(int16_avx2),
            Vectors::Avx512 | Vectors::Portable => None,
        }
    }

    /// A loop that adds products to `$sums` registers of `$lanes` sums, `$products` to each.
    macro_rules! rounds {
        (
            $name:ident, $features:literal, $class:ident, $sums:literal, $lanes:literal,
            $products:literal, $operand:expr, $zero:expr, $multiply:expr
        ) => {
            /// Returns the multiplications of a round.
            #[target_feature(enable = $features)]
            fn $name() -> usize {
                let [mut left, mut right] = [$operand; 2];
                let mut sums = [$zero; $sums];
                for _ in 0..ROUNDS_PER_READING {
                    // SAFETY: no instruction; the compiler takes the operands for new ones.
                    unsafe {
                        asm!("/* {0} */", inout($class) left, options(nomem, nostack, preserves_flags));
                        asm!("/* {0} */", inout($class) right, options(nomem, nostack, preserves_flags));
                    }
                    for sum in &mut sums {
                        *sum = ($multiply)(*sum, left, right);
                        // SAFETY: no instruction; equal sums are not computed once for all.
                        unsafe {
                            asm!("/* {0} */", inout($class) *sum, options(nomem, nostack, preserves_flags));
                        }
                    }
                }
                black_box(sums);
                $sums * $lanes * $products
            }
        };
    }

    rounds!(
        f32_avx2,
        "avx2,fma",
        ymm_reg,
        12,
        8,
        1,
        _mm256_set1_ps(1e-3),
        _mm256_setzero_ps(),
        |sum, left, right| _mm256_fmadd_ps(left, right, sum)
    );
    rounds!(
        f32_avx512,
        "avx512f",
        zmm_reg,
        24,
        16,
        1,
        _mm512_set1_ps(1e-3),
        _mm512_setzero_ps(),
        |sum, left, right| _mm512_fmadd_ps(left, right, sum)
    );
    rounds!(
        bf16_avx512,
        "avx512f,avx512bf16",
        zmm_reg,
        24,
        16,
        2,
        _mm512_set1_epi32(0),
        _mm512_setzero_ps(),
        |sum, left, right| {
            // SAFETY: any bits are a bf16.
            let [left, right] =
                unsafe { [left, right].map(|x| std::mem::transmute::<__m512i, __m512bh>(x)) };
            _mm512_dpbf16_ps(sum, left, right)
        }
    );
    rounds!(
        int16_avx512_vnni,
        "avx512f,avx512vnni",
        zmm_reg,
        24,
        16,
        2,
        _mm512_set1_epi32(1),
        _mm512_setzero_si512(),
        |sum, left, right| _mm512_dpwssd_epi32(sum, left, right)
    );
    rounds!(
        int8_avx512_vnni,
        "avx512f,avx512vnni",
        zmm_reg,
        24,
        16,
        4,
        _mm512_set1_epi8(1),
        _mm512_setzero_si512(),
        |sum, left, right| _mm512_dpbusd_epi32(sum, left, right)
    );
    rounds!(
        int8_avx_vnni,
        "avx2,avxvnni",
        ymm_reg,
        12,
        8,
        4,
        _mm256_set1_epi8(1),
        _mm256_setzero_si256(),
        |sum, left, right| _mm256_dpbusd_avx_epi32(sum, left, right)
    );

    /// A loop of products that take an addition of their own.
    macro_rules! rounds_with_sum {
        ($name:ident, $products:literal, $multiply:ident, $add:ident) => {
            #[target_feature(enable = "avx2")]
            fn $name() -> usize {
                const SUMS: usize = 10;
                let [mut left, mut right] = [_mm256_set1_epi8(1); 2];
                let mut sums = [_mm256_setzero_si256(); SUMS];
                for _ in 0..ROUNDS_PER_READING {
                    for sum in &mut sums {
                        // SAFETY: no instruction; the compiler takes the operands for new ones.
                        unsafe {
                            asm!("/* {0} */", inout(ymm_reg) left, options(nomem, nostack, preserves_flags));
                            asm!("/* {0} */", inout(ymm_reg) right, options(nomem, nostack, preserves_flags));
                        }
                        *sum = $add(*sum, $multiply(left, right));
                    }
                }
                black_box(sums);
                SUMS * $products
            }
        };
    }

    // Products of codes are added in pairs to 16 bits, and these to sums of as many: what the
    // kernel does between two widenings.
    rounds_with_sum!(int8_avx2, 32, _mm256_maddubs_epi16, _mm256_add_epi16);
    // Pairs of products, added to sums of 32 bits.
    rounds_with_sum!(int16_avx2, 16, _mm256_madd_epi16, _mm256_add_epi32);
}
