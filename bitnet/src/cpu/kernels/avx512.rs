//! AVX-512 with VNNI: `vpdpbusd` adds four products of an unsigned and a signed byte to each of
//! sixteen sums. A register holds sixteen rows, so that inputs are broadcast and nothing is added
//! up across lanes.

#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop, reason = "registers are numbered alike in several arrays")]

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi32, _mm512_and_si512, _mm512_dpbusd_epi32,
    _mm512_loadu_si512, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_srai_epi32, _mm512_srli_epi32, _mm512_storeu_si512,
};

use super::layout::{
    Block, INPUTS_PER_INT8_BLOCK, INPUTS_PER_TERNARY_BLOCK, OUTPUTS_PER_PANEL, PREFETCH_BYTES,
    Rows, word_of,
};

/// Registers of a panel.
const REGISTERS_PER_PANEL: usize = OUTPUTS_PER_PANEL / 16;

/// Blocks whose sums of `64 · code · x` cannot leave an `i32`: 4 · 2 · 64 · 128 a block, times 2¹⁴.
const BLOCKS_PER_I32_SUM: usize = 1 << 14;

/// The sixteen rows `16 · register ..` of a block.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn load(block: &Block, register: usize) -> __m512i {
    assert!(register < REGISTERS_PER_PANEL);
    // SAFETY: 64 bytes from 0 or 64 lie within the 128 of a block; the load need not be aligned.
    unsafe { _mm512_loadu_si512(block.0.as_ptr().add(64 * register).cast()) }
}

/// Four inputs, in every lane.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn broadcast(x: [i8; 4]) -> __m512i {
    _mm512_set1_epi32(word_of(x))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn store(sums: [__m512i; REGISTERS_PER_PANEL], out: &mut [i32; OUTPUTS_PER_PANEL]) {
    let (halves, _) = out.as_chunks_mut::<16>();
    for (sums, out) in sums.into_iter().zip(halves) {
        // SAFETY: `out` is 16 values of 4 bytes; the store need not be aligned.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn load_sums(out: &[i32; OUTPUTS_PER_PANEL]) -> [__m512i; REGISTERS_PER_PANEL] {
    let (halves, _) = out.as_chunks::<16>();
    // SAFETY: each half is 16 values of 4 bytes; the load need not be aligned.
    [0, 1].map(|half: usize| unsafe { _mm512_loadu_si512(halves[half].as_ptr().cast()) })
}

/// Prefetches what is read a little later. The address may lie after the end: that is no access.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn prefetch(block: &Block) {
    let ahead = block.0.as_ptr().wrapping_add(PREFETCH_BYTES).cast();
    _mm_prefetch::<_MM_HINT_T0>(ahead);
    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
}

/// Codes are not shifted down but masked where they are, and so count 1, 4, 16 or 64 times: four
/// sums a register, each shifted once at the end.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn ternary_gemv<const PREFETCH: bool>(
    codes: &[Block],
    x: &[i8],
    out: &mut [i32; OUTPUTS_PER_PANEL],
) {
    let masks = [
        _mm512_set1_epi8(0x03),
        _mm512_set1_epi8(0x0c),
        _mm512_set1_epi8(0x30),
        _mm512_set1_epi8(0xc0u8.cast_signed()),
    ];
    let mut total = [_mm512_setzero_si512(); REGISTERS_PER_PANEL];
    let (inputs, _) = x.as_chunks::<INPUTS_PER_TERNARY_BLOCK>();
    for (blocks, inputs) in codes.chunks(BLOCKS_PER_I32_SUM).zip(inputs.chunks(BLOCKS_PER_I32_SUM))
    {
        let mut sums = [[_mm512_setzero_si512(); 4]; REGISTERS_PER_PANEL];
        for (block, x) in blocks.iter().zip(inputs) {
            if PREFETCH {
                prefetch(block);
            }
            let (x, _) = x.as_chunks::<4>();
            let x = [broadcast(x[0]), broadcast(x[1]), broadcast(x[2]), broadcast(x[3])];
            for r in 0..REGISTERS_PER_PANEL {
                let packed = load(block, r);
                for s in 0..4 {
                    let codes = _mm512_and_si512(packed, masks[s]);
                    sums[r][s] = _mm512_dpbusd_epi32(sums[r][s], codes, x[s]);
                }
            }
        }
        for (total, sums) in total.iter_mut().zip(sums) {
            let halves = [
                _mm512_add_epi32(sums[0], _mm512_srai_epi32::<2>(sums[1])),
                _mm512_add_epi32(_mm512_srai_epi32::<4>(sums[2]), _mm512_srai_epi32::<6>(sums[3])),
            ];
            *total = _mm512_add_epi32(*total, _mm512_add_epi32(halves[0], halves[1]));
        }
    }
    store(total, out);
}

/// Sums of up to twelve rows of codes are in registers together, with those of a panel.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn gemm(
    weights: &[Block],
    codes: Rows<'_>,
    adds: bool,
    out: &mut [[i32; OUTPUTS_PER_PANEL]],
) {
    let mut first = 0;
    while first < out.len() {
        let (codes, out) = (codes.from(first), &mut out[first..]);
        first += match out.len() {
            // Two tiles of eight are faster than one of twelve and a small one.
            13..=16 => tile::<8, 1>(weights, codes, adds, out),
            12.. => tile::<12, 1>(weights, codes, adds, out),
            8.. => tile::<8, 1>(weights, codes, adds, out),
            7 => tile::<7, 1>(weights, codes, adds, out),
            6 => tile::<6, 1>(weights, codes, adds, out),
            5 => tile::<5, 1>(weights, codes, adds, out),
            4 => tile::<4, 1>(weights, codes, adds, out),
            3 => tile::<3, 1>(weights, codes, adds, out),
            2 => tile::<2, 1>(weights, codes, adds, out),
            _ => tile::<1, 1>(weights, codes, adds, out),
        };
    }
}

/// As [`gemm`] with codes at two bits, of which each is unpacked once for up to eight rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn ternary_gemm(
    weights: &[Block],
    codes: Rows<'_>,
    out: &mut [[i32; OUTPUTS_PER_PANEL]],
) {
    let mut first = 0;
    while first < out.len() {
        let (codes, out) = (codes.from(first), &mut out[first..]);
        first += match out.len() {
            8.. => tile::<8, 4>(weights, codes, false, out),
            7 => tile::<7, 4>(weights, codes, false, out),
            6 => tile::<6, 4>(weights, codes, false, out),
            5 => tile::<5, 4>(weights, codes, false, out),
            4 => tile::<4, 4>(weights, codes, false, out),
            3 => tile::<3, 4>(weights, codes, false, out),
            2 => tile::<2, 4>(weights, codes, false, out),
            _ => tile::<1, 4>(weights, codes, false, out),
        };
    }
}

/// The first rows; returns their number. Blocks are of `WORDS` words of codes: one, of bytes, or
/// four, at two bits.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn tile<const ROWS: usize, const WORDS: usize>(
    weights: &[Block],
    codes: Rows<'_>,
    adds: bool,
    out: &mut [[i32; OUTPUTS_PER_PANEL]],
) -> usize {
    let (start, stride) = codes.words(ROWS, WORDS * weights.len());
    let mut sums = [[_mm512_setzero_si512(); REGISTERS_PER_PANEL]; ROWS];
    if adds {
        for (sums, out) in sums.iter_mut().zip(&*out) {
            *sums = load_sums(out);
        }
    }
    for (index, block) in weights.iter().enumerate() {
        let block = [load(block, 0), load(block, 1)];
        for part in 0..WORDS {
            let weights = match WORDS {
                1 => block,
                _ => [unpack(block[0], part), unpack(block[1], part)],
            };
            for (row, sums) in sums.iter_mut().enumerate() {
                // Every fourth row has an address of its own, the others a multiple of the stride
                // to it: there are not enough registers for all of them.
                // SAFETY: `words` has found that the rows are that long.
                let x = unsafe {
                    let word = INPUTS_PER_INT8_BLOCK * (WORDS * index + part);
                    let place = start.add(row / 4 * 4 * stride + word);
                    place.add(row % 4 * stride).cast::<i32>().read_unaligned()
                };
                let x = _mm512_set1_epi32(x);
                for r in 0..REGISTERS_PER_PANEL {
                    sums[r] = _mm512_dpbusd_epi32(sums[r], weights[r], x);
                }
            }
        }
    }
    for (sums, out) in sums.into_iter().zip(out) {
        store(sums, out);
    }
    ROWS
}

/// One of the four codes of each byte.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn unpack(packed: __m512i, part: usize) -> __m512i {
    let codes = match part {
        0 => packed,
        1 => _mm512_srli_epi32::<2>(packed),
        2 => _mm512_srli_epi32::<4>(packed),
        _ => _mm512_srli_epi32::<6>(packed),
    };
    _mm512_and_si512(codes, _mm512_set1_epi8(3))
}

/// Both bytes of the inputs with each weight that is loaded.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn int8_gemv<const PREFETCH: bool>(
    weights: &[Block],
    x: [&[i8]; 2],
    out: &mut [[i32; OUTPUTS_PER_PANEL]; 2],
) {
    let (high, low) =
        (x[0].as_chunks::<INPUTS_PER_INT8_BLOCK>().0, x[1].as_chunks::<INPUTS_PER_INT8_BLOCK>().0);
    let mut sums = [[_mm512_setzero_si512(); REGISTERS_PER_PANEL]; 2];
    for (block, x) in weights.iter().zip(high.iter().zip(low)) {
        if PREFETCH {
            prefetch(block);
        }
        let x = [broadcast(*x.0), broadcast(*x.1)];
        for r in 0..REGISTERS_PER_PANEL {
            let weights = load(block, r);
            for half in 0..2 {
                sums[half][r] = _mm512_dpbusd_epi32(sums[half][r], weights, x[half]);
            }
        }
    }
    for (sums, out) in sums.into_iter().zip(out) {
        store(sums, out);
    }
}
