#![allow(unsafe_code, reason = "vector intrinsics over raw pointers")]

use crate::cpu::gemm::tile::{COLUMNS_PER_PANEL, Kernel, PANELS_PER_TILE};

pub(super) const AVX2: Kernel<f32> = Kernel { columns: COLUMNS_PER_PANEL, compute: avx2::compute };
pub(super) const AVX512: Kernel<f32> =
    Kernel { columns: PANELS_PER_TILE * COLUMNS_PER_PANEL, compute: avx512::compute };
pub(super) const AVX512_BF16: Kernel<u32> =
    Kernel { columns: PANELS_PER_TILE * COLUMNS_PER_PANEL, compute: avx512_bf16::compute };

pub(super) const AVX2_INT16: Kernel<i32> =
    Kernel { columns: COLUMNS_PER_PANEL, compute: avx2_int16::compute };
pub(super) const AVX512_INT16: Kernel<i32> =
    Kernel { columns: PANELS_PER_TILE * COLUMNS_PER_PANEL, compute: avx512_int16::compute };

/// A kernel for registers of vectors, in a module that has `spread` (a word in each lane), `load`
/// and `store` (of the first lanes), `multiply` (adds a product to a sum), and `sum_in_f32`.
///
/// `$registers` of a tile's columns are computed together, for as many rows as leave room for the
/// operands: `$rows`, the largest number first and 1 last.
macro_rules! kernel {
    ($word:ty, $features:literal, $lanes:literal, $registers:literal, [$($rows:literal)*]) => {
        /// # Safety
        /// As of `Kernel::compute`, which has checked the operands; the processor has the
        /// instructions.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn compute(tile: &Tile<'_, $word>, out: Output) {
            let whole = tile.columns == $lanes * $registers;
            let used = tile.columns.div_ceil($lanes);
            let mut row = 0;
            $(while tile.rows - row >= $rows {
                // SAFETY: the tile has these rows and registers of columns.
                unsafe {
                    match (whole, used) {
                        (true, _) => rows::<$rows, $registers, true>(tile, row, out),
                        (false, 1) => rows::<$rows, 1, false>(tile, row, out),
                        (false, _) => rows::<$rows, $registers, false>(tile, row, out),
                    }
                }
                row += $rows;
            })*
        }

        /// `R` rows of `V` registers.
        ///
        /// # Safety
        /// The tile has the rows, and no columns after the registers; if it is `WHOLE`, all of
        /// theirs.
        #[target_feature(enable = $features)]
        unsafe fn rows<const R: usize, const V: usize, const WHOLE: bool>(
            tile: &Tile<'_, $word>,
            row: usize,
            out: Output,
        ) {
            let mut lanes = [$lanes; V];
            if !WHOLE {
                for (v, lanes) in lanes.iter_mut().enumerate() {
                    *lanes = tile.columns.saturating_sub(v * $lanes).min($lanes);
                }
            }
            let mut sums = [[zero(); V]; R];
            for k in 0..tile.depth {
                let mut rights = [zero(); V];
                for v in 0..V {
                    let column = v * $lanes;
                    let at = column / COLUMNS_PER_PANEL * tile.panel_stride
                        + k * tile.right_stride
                        + column % COLUMNS_PER_PANEL;
                    if WHOLE || lanes[v] > 0 {
                        // SAFETY: the lanes are columns of the word k.
                        rights[v] = unsafe {
                            load::<WHOLE>(tile.right.as_ptr().add(at).cast(), lanes[v])
                        };
                    }
                }
                for r in 0..R {
                    let at = (row + r) * tile.row_stride + k * tile.word_stride;
                    // SAFETY: a word of one of the rows.
                    let left = spread(unsafe { *tile.left.as_ptr().add(at) });
                    for v in 0..V {
                        sums[r][v] = multiply(sums[r][v], left, rights[v]);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    let mut sum = sum_in_f32(sum);
                    if !WHOLE && lanes[v] == 0 {
                        continue;
                    }
                    // SAFETY: the lanes are columns of row r, for which there is room.
                    unsafe {
                        let to = out.to.add((row + r) * out.stride + v * $lanes);
                        if out.add {
                            sum = add(sum, load::<WHOLE>(to, lanes[v]));
                        }
                        store::<WHOLE>(to, lanes[v], sum);
                    }
                }
            }
        }
    };
}

/// What registers of 256 bits have in common, whatever their words.
macro_rules! avx2 {
    () => {
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        fn zero() -> __m256 {
            _mm256_setzero_ps()
        }

        #[inline]
        #[target_feature(enable = "avx2,fma")]
        fn add(a: __m256, b: __m256) -> __m256 {
            _mm256_add_ps(a, b)
        }

        /// Lanes below a number.
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        fn below(lanes: usize) -> __m256i {
            _mm256_cmpgt_epi32(
                _mm256_set1_epi32(lanes as i32),
                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
            )
        }

        /// # Safety
        /// The lanes are readable, all of them if it is `WHOLE`.
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn load<const WHOLE: bool>(from: *const f32, lanes: usize) -> __m256 {
            // SAFETY: as the caller promises; those that are masked out are not touched.
            unsafe {
                match WHOLE {
                    true => _mm256_loadu_ps(from),
                    false => _mm256_maskload_ps(from, below(lanes)),
                }
            }
        }

        /// # Safety
        /// The lanes are writable, all of them if it is `WHOLE`.
        #[inline]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn store<const WHOLE: bool>(to: *mut f32, lanes: usize, value: __m256) {
            // SAFETY: as the caller promises; those that are masked out are not touched.
            unsafe {
                match WHOLE {
                    true => _mm256_storeu_ps(to, value),
                    false => _mm256_maskstore_ps(to, below(lanes), value),
                }
            }
        }
    };
}

mod avx2 {
    use std::arch::x86_64::*;

    use super::COLUMNS_PER_PANEL;
    use crate::cpu::gemm::tile::{Output, Tile};

    // 12 sums, two vectors of the right operand, and one word of the left.
    kernel!(f32, "avx2,fma", 8, 2, [6 4 1]);
    avx2!();

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn spread(word: f32) -> __m256 {
        _mm256_set1_ps(word)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn multiply(sum: __m256, left: __m256, right: __m256) -> __m256 {
        _mm256_fmadd_ps(left, right, sum)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn sum_in_f32(sum: __m256) -> __m256 {
        sum
    }
}

/// Sums are whole numbers of 32 bits. They are kept as vectors of floats, so that the rest is that of
/// the other words.
mod avx2_int16 {
    use std::arch::x86_64::*;

    use super::COLUMNS_PER_PANEL;
    use crate::cpu::gemm::tile::{Output, Tile};

    // 12 sums, two vectors of the right operand, one word of the left, and a product.
    kernel!(i32, "avx2,fma", 8, 2, [6 4 1]);
    avx2!();

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn spread(word: i32) -> __m256i {
        _mm256_set1_epi32(word)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn multiply(sum: __m256, left: __m256i, right: __m256) -> __m256 {
        let products = _mm256_madd_epi16(left, _mm256_castps_si256(right));
        _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), products))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn sum_in_f32(sum: __m256) -> __m256 {
        _mm256_cvtepi32_ps(_mm256_castps_si256(sum))
    }
}

/// What registers of 512 bits have in common, whatever their words.
macro_rules! avx512 {
    ($features:literal) => {
        #[inline]
        #[target_feature(enable = $features)]
        fn zero() -> __m512 {
            _mm512_setzero_ps()
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn add(a: __m512, b: __m512) -> __m512 {
            _mm512_add_ps(a, b)
        }

        /// # Safety
        /// The lanes are readable, all of them if it is `WHOLE`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn load<const WHOLE: bool>(from: *const f32, lanes: usize) -> __m512 {
            // SAFETY: as the caller promises; those that are masked out are not touched.
            unsafe {
                match WHOLE {
                    true => _mm512_loadu_ps(from),
                    false => _mm512_maskz_loadu_ps(((1_u32 << lanes) - 1) as u16, from),
                }
            }
        }

        /// # Safety
        /// The lanes are writable, all of them if it is `WHOLE`.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn store<const WHOLE: bool>(to: *mut f32, lanes: usize, value: __m512) {
            // SAFETY: as the caller promises; those that are masked out are not touched.
            unsafe {
                match WHOLE {
                    true => _mm512_storeu_ps(to, value),
                    false => _mm512_mask_storeu_ps(to, ((1_u32 << lanes) - 1) as u16, value),
                }
            }
        }
    };
}

mod avx512 {
    use std::arch::x86_64::*;

    use super::COLUMNS_PER_PANEL;
    use crate::cpu::gemm::tile::{Output, Tile};

    // 24 sums, two vectors of the right operand, and one word of the left.
    kernel!(f32, "avx512f", 16, 2, [12 8 4 1]);
    avx512!("avx512f");

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn spread(word: f32) -> __m512 {
        _mm512_set1_ps(word)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn multiply(sum: __m512, left: __m512, right: __m512) -> __m512 {
        _mm512_fmadd_ps(left, right, sum)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn sum_in_f32(sum: __m512) -> __m512 {
        sum
    }
}

mod avx512_bf16 {
    use std::{arch::x86_64::*, mem::transmute};

    use super::COLUMNS_PER_PANEL;
    use crate::cpu::gemm::tile::{Output, Tile};

    // 24 sums, two vectors of the right operand, and one word of the left.
    kernel!(u32, "avx512f,avx512bf16", 16, 2, [12 8 4 1]);
    avx512!("avx512f,avx512bf16");

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn spread(word: u32) -> __m512i {
        _mm512_set1_epi32(word as i32)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn multiply(sum: __m512, left: __m512i, right: __m512) -> __m512 {
        // SAFETY: any bits are a bf16.
        let [left, right] =
            unsafe { [transmute::<__m512i, __m512bh>(left), transmute::<__m512, __m512bh>(right)] };
        _mm512_dpbf16_ps(sum, left, right)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn sum_in_f32(sum: __m512) -> __m512 {
        sum
    }
}

/// Sums are whole numbers of 32 bits. They are kept as vectors of floats, so that the rest is that of
/// the other words.
mod avx512_int16 {
    use std::arch::x86_64::*;

    use super::COLUMNS_PER_PANEL;
    use crate::cpu::gemm::tile::{Output, Tile};

    // 24 sums, two vectors of the right operand, and one word of the left.
    kernel!(i32, "avx512f,avx512vnni", 16, 2, [12 8 4 1]);
    avx512!("avx512f,avx512vnni");

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn spread(word: i32) -> __m512i {
        _mm512_set1_epi32(word)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn multiply(sum: __m512, left: __m512i, right: __m512) -> __m512 {
        let sum = _mm512_castps_si512(sum);
        _mm512_castsi512_ps(_mm512_dpwssd_epi32(sum, left, _mm512_castps_si512(right)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn sum_in_f32(sum: __m512) -> __m512 {
        _mm512_cvtepi32_ps(_mm512_castps_si512(sum))
    }
}
