//! AVX2: eight rows a register. Without VNNI, `vpmaddubsw` adds two products into 16 bits and
//! `vpmaddwd` two of those sums into 32; with it, `vpdpbusd` does both at once.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _MM_HINT_T0, _mm_prefetch, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256,
    _mm256_dpbusd_avx_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256,
    _mm256_slli_epi16, _mm256_srai_epi16, _mm256_srli_epi16, _mm256_srli_epi32,
    _mm256_storeu_si256,
};

use super::layout::{
    Block, INPUTS_PER_INT8_BLOCK, INPUTS_PER_TERNARY_BLOCK, OUTPUTS_PER_PANEL, PREFETCH_BYTES,
    Rows, word_of,
};

/// Registers of a panel.
const REGISTERS_PER_PANEL: usize = OUTPUTS_PER_PANEL / 8;

/// The eight rows `8 · register ..` of a block.
#[target_feature(enable = "avx2")]
#[inline]
fn load(block: &Block, register: usize) -> __m256i {
    assert!(register < REGISTERS_PER_PANEL);
    // SAFETY: 32 bytes from 32 · register lie within the block; the load need not be aligned.
    unsafe { _mm256_loadu_si256(block.0.as_ptr().add(32 * register).cast()) }
}

/// Four inputs, in every lane.
#[target_feature(enable = "avx2")]
#[inline]
fn broadcast(x: [i8; 4]) -> __m256i {
    _mm256_set1_epi32(word_of(x))
}

/// The sums of register `register`.
#[target_feature(enable = "avx2")]
#[inline]
fn store(sums: __m256i, register: usize, out: &mut [i32; OUTPUTS_PER_PANEL]) {
    let out = &mut out[8 * register..][..8];
    // SAFETY: `out` is 8 values of 4 bytes; the store need not be aligned.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sums) }
}

/// The sums of register `register`, as [`store`] left them.
#[target_feature(enable = "avx2")]
#[inline]
fn load_sums(out: &[i32; OUTPUTS_PER_PANEL], register: usize) -> __m256i {
    let out = &out[8 * register..][..8];
    // SAFETY: `out` is 8 values of 4 bytes; the load need not be aligned.
    unsafe { _mm256_loadu_si256(out.as_ptr().cast()) }
}

/// Prefetches what is read a little later. The address may lie after the end: that is no access.
#[target_feature(enable = "avx2")]
#[inline]
fn prefetch(block: &Block) {
    let ahead = block.0.as_ptr().wrapping_add(PREFETCH_BYTES).cast();
    _mm_prefetch::<_MM_HINT_T0>(ahead);
    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
}

/// The four codes of each byte, each in a byte of its own.
#[target_feature(enable = "avx2")]
#[inline]
fn unpack(packed: __m256i) -> [__m256i; 4] {
    let mask = _mm256_set1_epi8(3);
    [
        _mm256_and_si256(packed, mask),
        _mm256_and_si256(_mm256_srli_epi32::<2>(packed), mask),
        _mm256_and_si256(_mm256_srli_epi32::<4>(packed), mask),
        _mm256_and_si256(_mm256_srli_epi32::<6>(packed), mask),
    ]
}

/// Words of codes whose products with weights of at most 3 can be added in 16 bits: a word adds
/// twice 3 · 128 to each sum.
const WORDS_PER_I16_SUM: usize = 32;

/// Columns of a panel are taken in halves: sums of six rows of codes with two registers of weights,
/// and what is multiplied, are all that there is room for.
const REGISTERS_PER_HALF: usize = 2;

/// Splits rows of a product into tiles.
macro_rules! gemm {
    ($features:literal, $gemm:ident, $tile:ident) => {
        #[target_feature(enable = $features)]
        fn $gemm(
            weights: &[Block],
            codes: Rows<'_>,
            adds: bool,
            out: &mut [[i32; OUTPUTS_PER_PANEL]],
        ) {
            let mut first = 0;
            while first < out.len() {
                let (codes, out) = (codes.from(first), &mut out[first..]);
                first += match out.len() {
                    6.. => $tile::<6>(weights, codes, adds, out),
                    5 => $tile::<5>(weights, codes, adds, out),
                    4 => $tile::<4>(weights, codes, adds, out),
                    3 => $tile::<3>(weights, codes, adds, out),
                    2 => $tile::<2>(weights, codes, adds, out),
                    _ => $tile::<1>(weights, codes, adds, out),
                };
            }
        }
    };
}

gemm!("avx2", gemm_avx2, tile_avx2);
gemm!("avx2,avxvnni", gemm_vnni, tile_vnni);

/// The first rows; returns their number. Sums are of 16 bits for as long as they fit.
#[target_feature(enable = "avx2")]
#[inline]
fn tile_avx2<const ROWS: usize>(
    weights: &[Block],
    codes: Rows<'_>,
    adds: bool,
    out: &mut [[i32; OUTPUTS_PER_PANEL]],
) -> usize {
    let rows: [&[[i8; INPUTS_PER_INT8_BLOCK]]; ROWS] =
        std::array::from_fn(|row| codes.row(row, weights.len()));
    for first in (0..REGISTERS_PER_PANEL).step_by(REGISTERS_PER_HALF) {
        let mut totals = sums_of_half::<ROWS>(adds, first, out);
        for start in (0..weights.len()).step_by(WORDS_PER_I16_SUM) {
            let mut sums = [[_mm256_setzero_si256(); REGISTERS_PER_HALF]; ROWS];
            for word in start..weights.len().min(start + WORDS_PER_I16_SUM) {
                let block = &weights[word];
                let weights = [load(block, first), load(block, first + 1)];
                for (row, sums) in rows.iter().zip(&mut sums) {
                    let x = broadcast(row[word]);
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(weights, x));
                    }
                }
            }
            for (totals, sums) in totals.iter_mut().zip(sums) {
                for (total, sum) in totals.iter_mut().zip(sums) {
                    let sum = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
                    *total = _mm256_add_epi32(*total, sum);
                }
            }
        }
        store_half(totals, first, out);
    }
    ROWS
}

/// As [`tile_avx2`], with one instruction that adds four products in 32 bits.
#[target_feature(enable = "avx2,avxvnni")]
#[inline]
fn tile_vnni<const ROWS: usize>(
    weights: &[Block],
    codes: Rows<'_>,
    adds: bool,
    out: &mut [[i32; OUTPUTS_PER_PANEL]],
) -> usize {
    let rows: [&[[i8; INPUTS_PER_INT8_BLOCK]]; ROWS] =
        std::array::from_fn(|row| codes.row(row, weights.len()));
    for first in (0..REGISTERS_PER_PANEL).step_by(REGISTERS_PER_HALF) {
        let mut sums = sums_of_half::<ROWS>(adds, first, out);
        for (word, block) in weights.iter().enumerate() {
            let weights = [load(block, first), load(block, first + 1)];
            for (row, sums) in rows.iter().zip(&mut sums) {
                let x = broadcast(row[word]);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm256_dpbusd_avx_epi32(*sum, weights, x);
                }
            }
        }
        store_half(sums, first, out);
    }
    ROWS
}

/// What sums of the registers `first` and the next begin with: those of `out`, or zeros.
#[target_feature(enable = "avx2")]
#[inline]
fn sums_of_half<const ROWS: usize>(
    adds: bool,
    first: usize,
    out: &[[i32; OUTPUTS_PER_PANEL]],
) -> [[__m256i; REGISTERS_PER_HALF]; ROWS] {
    let mut sums = [[_mm256_setzero_si256(); REGISTERS_PER_HALF]; ROWS];
    if adds {
        for (sums, out) in sums.iter_mut().zip(out) {
            for (r, sum) in sums.iter_mut().enumerate() {
                *sum = load_sums(out, first + r);
            }
        }
    }
    sums
}

/// Stores the sums of the registers `first` and the next.
#[target_feature(enable = "avx2")]
#[inline]
fn store_half<const ROWS: usize>(
    sums: [[__m256i; REGISTERS_PER_HALF]; ROWS],
    first: usize,
    out: &mut [[i32; OUTPUTS_PER_PANEL]],
) {
    for (sums, out) in sums.into_iter().zip(out) {
        for (r, sums) in sums.into_iter().enumerate() {
            store(sums, first + r, out);
        }
    }
}

/// The kernels over two ways to multiply: `codes` adds sixteen products a lane of codes up to 3,
/// `bytes` four products of any bytes.
macro_rules! kernels {
    ($name:ident, $features:literal, $codes:path, $bytes:path, $gemm:path) => {
        pub(super) mod $name {
            use super::*;

            #[target_feature(enable = $features)]
            pub(in super::super) fn gemm(
                weights: &[Block],
                codes: Rows<'_>,
                adds: bool,
                out: &mut [[i32; OUTPUTS_PER_PANEL]],
            ) {
                $gemm(weights, codes, adds, out);
            }

            #[target_feature(enable = $features)]
            pub(in super::super) fn ternary_gemv<const PREFETCH: bool>(
                codes: &[Block],
                x: &[i8],
                out: &mut [i32; OUTPUTS_PER_PANEL],
            ) {
                let (inputs, _) = x.as_chunks::<INPUTS_PER_TERNARY_BLOCK>();
                let mut sums = [_mm256_setzero_si256(); REGISTERS_PER_PANEL];
                for (block, x) in codes.iter().zip(inputs) {
                    if PREFETCH {
                        prefetch(block);
                    }
                    let (x, _) = x.as_chunks::<4>();
                    let x = [broadcast(x[0]), broadcast(x[1]), broadcast(x[2]), broadcast(x[3])];
                    for r in 0..REGISTERS_PER_PANEL {
                        sums[r] = $codes(sums[r], unpack(load(block, r)), x);
                    }
                }
                for (register, sums) in sums.into_iter().enumerate() {
                    store(sums, register, out);
                }
            }

            #[target_feature(enable = $features)]
            pub(in super::super) fn int8_gemv<const PREFETCH: bool>(
                weights: &[Block],
                x: [&[i8]; 2],
                out: &mut [[i32; OUTPUTS_PER_PANEL]; 2],
            ) {
                let high = x[0].as_chunks::<INPUTS_PER_INT8_BLOCK>().0;
                let low = x[1].as_chunks::<INPUTS_PER_INT8_BLOCK>().0;
                let mut sums = [[_mm256_setzero_si256(); REGISTERS_PER_PANEL]; 2];
                for (block, x) in weights.iter().zip(high.iter().zip(low)) {
                    if PREFETCH {
                        prefetch(block);
                    }
                    let x = [broadcast(*x.0), broadcast(*x.1)];
                    for r in 0..REGISTERS_PER_PANEL {
                        let weights = load(block, r);
                        for half in 0..2 {
                            sums[half][r] = $bytes(sums[half][r], weights, x[half]);
                        }
                    }
                }
                for (sums, out) in sums.into_iter().zip(out) {
                    for (register, sums) in sums.into_iter().enumerate() {
                        store(sums, register, out);
                    }
                }
            }
        }
    };
}

/// Four times two products of at most 3 · 128 stay far below 2¹⁵.
#[target_feature(enable = "avx2")]
#[inline]
fn codes_avx2(sum: __m256i, codes: [__m256i; 4], x: [__m256i; 4]) -> __m256i {
    let mut pairs = _mm256_maddubs_epi16(codes[0], x[0]);
    for s in 1..4 {
        pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(codes[s], x[s]));
    }
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// Bytes as 16 bits, the even ones and the odd ones: `vpmaddubsw` would saturate.
#[target_feature(enable = "avx2")]
#[inline]
fn bytes_avx2(sum: __m256i, weights: __m256i, x: __m256i) -> __m256i {
    let even = _mm256_madd_epi16(
        _mm256_and_si256(weights, _mm256_set1_epi16(0xff)),
        _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(x)),
    );
    let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(weights), _mm256_srai_epi16::<8>(x));
    _mm256_add_epi32(sum, _mm256_add_epi32(even, odd))
}

#[target_feature(enable = "avx2,avxvnni")]
#[inline]
fn codes_vnni(sum: __m256i, codes: [__m256i; 4], x: [__m256i; 4]) -> __m256i {
    // Sums of their own: one after the other would wait for each other.
    let zero = _mm256_setzero_si256();
    let first = _mm256_dpbusd_avx_epi32(zero, codes[0], x[0]);
    let second = _mm256_dpbusd_avx_epi32(zero, codes[2], x[2]);
    let first = _mm256_dpbusd_avx_epi32(first, codes[1], x[1]);
    let second = _mm256_dpbusd_avx_epi32(second, codes[3], x[3]);
    _mm256_add_epi32(sum, _mm256_add_epi32(first, second))
}

#[target_feature(enable = "avx2,avxvnni")]
#[inline]
fn bytes_vnni(sum: __m256i, weights: __m256i, x: __m256i) -> __m256i {
    _mm256_dpbusd_avx_epi32(sum, weights, x)
}

kernels!(plain, "avx2", codes_avx2, bytes_avx2, gemm_avx2);
kernels!(vnni, "avx2,avxvnni", codes_vnni, bytes_vnni, gemm_vnni);
