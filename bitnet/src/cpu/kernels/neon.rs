//! NEON: four rows a register. With dot products `sdot` adds four products a lane, of codes and any
//! four of sixteen inputs; without, products of 16 bits are added in pairs.

#![allow(unsafe_code)]

use std::arch::{
    aarch64::{
        int8x16_t, int32x4_t, uint8x16_t, vaddq_s32, vandq_u8, vdup_laneq_s32, vdupq_n_s32,
        vdupq_n_u8, veorq_u8, vget_high_s8, vget_low_s8, vld1q_s8, vld1q_s32, vld1q_u8, vmlal_s8,
        vmull_s8, vpadalq_s16, vpaddlq_s16, vpaddq_s16, vpaddq_s32, vreinterpret_s8_s32,
        vreinterpretq_s8_s32, vreinterpretq_s8_u8, vreinterpretq_s32_s8, vshrq_n_u8, vst1q_s32,
    },
    asm,
};

use super::{
    layout::{
        Block, INPUTS_PER_INT8_BLOCK, INPUTS_PER_TERNARY_BLOCK, OUTPUTS_PER_PANEL, Rows, word_of,
    },
    scalar,
    table::Kernels,
};
use crate::cpu::isa::Isa;

/// Registers of a panel.
const REGISTERS_PER_PANEL: usize = OUTPUTS_PER_PANEL / 4;
/// Registers of a tile, which has as many tokens: their sums fill half of the registers that there
/// are.
const REGISTERS_PER_TILE: usize = 4;

/// The kernels of `isa`, if this processor can run them.
pub(super) fn kernels(isa: Isa) -> Option<&'static Kernels> {
    match isa {
        Isa::NeonDot if isa.is_available() => Some(&NEON_DOT),
        Isa::Neon if isa.is_available() => Some(&NEON),
        _ => None,
    }
}

/// The four rows `4 · register ..` of a block.
#[target_feature(enable = "neon")]
#[inline]
fn load(block: &Block, register: usize) -> uint8x16_t {
    assert!(register < REGISTERS_PER_PANEL);
    // SAFETY: 16 bytes from 16 · register lie within the block; the load need not be aligned.
    unsafe { vld1q_u8(block.0.as_ptr().add(16 * register)) }
}

#[target_feature(enable = "neon")]
#[inline]
fn load_inputs(x: &[i8; INPUTS_PER_TERNARY_BLOCK]) -> int8x16_t {
    // SAFETY: `x` is 16 bytes; the load need not be aligned.
    unsafe { vld1q_s8(x.as_ptr()) }
}

/// Four inputs, in every lane.
#[target_feature(enable = "neon")]
#[inline]
fn broadcast(x: [i8; INPUTS_PER_INT8_BLOCK]) -> int8x16_t {
    vreinterpretq_s8_s32(vdupq_n_s32(word_of(x)))
}

/// The sums of register `register`.
#[target_feature(enable = "neon")]
#[inline]
fn store(sums: int32x4_t, register: usize, out: &mut [i32; OUTPUTS_PER_PANEL]) {
    let out = &mut out[4 * register..][..4];
    // SAFETY: `out` is 4 values of 4 bytes; the store need not be aligned.
    unsafe { vst1q_s32(out.as_mut_ptr(), sums) }
}

/// The sums of register `register`, as [`store`] left them.
#[target_feature(enable = "neon")]
#[inline]
fn load_sums(out: &[i32; OUTPUTS_PER_PANEL], register: usize) -> int32x4_t {
    let out = &out[4 * register..][..4];
    // SAFETY: `out` is 4 values of 4 bytes; the load need not be aligned.
    unsafe { vld1q_s32(out.as_ptr()) }
}

/// The four codes of each byte, each in a byte of its own.
#[target_feature(enable = "neon")]
#[inline]
fn unpack(packed: uint8x16_t) -> [int8x16_t; 4] {
    let mask = vdupq_n_u8(3);
    [
        vreinterpretq_s8_u8(vandq_u8(packed, mask)),
        vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<2>(packed), mask)),
        vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8::<4>(packed), mask)),
        vreinterpretq_s8_u8(vshrq_n_u8::<6>(packed)),
    ]
}

/// The kernels over two ways to multiply: `codes` adds sixteen products a lane of codes up to 3,
/// `bytes` four products of any bytes.
macro_rules! kernels {
    ($name:ident, $features:literal, $codes:path, $bytes:path, $small:path) => {
        mod $name {
            use super::*;

            #[target_feature(enable = $features)]
            pub(super) fn ternary_gemv(
                codes: &[Block],
                x: &[i8],
                out: &mut [i32; OUTPUTS_PER_PANEL],
            ) {
                let mut sums = [vdupq_n_s32(0); REGISTERS_PER_PANEL];
                for (block, x) in codes.iter().zip(x.as_chunks().0) {
                    let x = load_inputs(x);
                    for (r, sum) in sums.iter_mut().enumerate() {
                        *sum = $codes(*sum, unpack(load(block, r)), x);
                    }
                }
                for (register, sums) in sums.into_iter().enumerate() {
                    store(sums, register, out);
                }
            }

            /// Sums of four rows of codes with four registers of weights fill half of the
            /// registers that there are.
            #[target_feature(enable = $features)]
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
                        4.. => tile::<4>(weights, codes, adds, out),
                        3 => tile::<3>(weights, codes, adds, out),
                        2 => tile::<2>(weights, codes, adds, out),
                        _ => tile::<1>(weights, codes, adds, out),
                    };
                }
            }

            /// The first rows; returns their number.
            #[target_feature(enable = $features)]
            #[inline]
            fn tile<const ROWS: usize>(
                weights: &[Block],
                codes: Rows<'_>,
                adds: bool,
                out: &mut [[i32; OUTPUTS_PER_PANEL]],
            ) -> usize {
                let rows: [&[[i8; INPUTS_PER_INT8_BLOCK]]; ROWS] =
                    std::array::from_fn(|row| codes.row(row, weights.len()));
                for first in (0..REGISTERS_PER_PANEL).step_by(REGISTERS_PER_TILE) {
                    let mut sums = [[vdupq_n_s32(0); REGISTERS_PER_TILE]; ROWS];
                    if adds {
                        for (sums, out) in sums.iter_mut().zip(&*out) {
                            for (r, sum) in sums.iter_mut().enumerate() {
                                *sum = load_sums(out, first + r);
                            }
                        }
                    }
                    for (word, block) in weights.iter().enumerate() {
                        let weights: [int8x16_t; REGISTERS_PER_TILE] = [
                            vreinterpretq_s8_u8(load(block, first)),
                            vreinterpretq_s8_u8(load(block, first + 1)),
                            vreinterpretq_s8_u8(load(block, first + 2)),
                            vreinterpretq_s8_u8(load(block, first + 3)),
                        ];
                        for (row, sums) in rows.iter().zip(&mut sums) {
                            let x = broadcast(row[word]);
                            for r in 0..REGISTERS_PER_TILE {
                                sums[r] = $small(sums[r], weights[r], x);
                            }
                        }
                    }
                    for (sums, out) in sums.into_iter().zip(out.iter_mut()) {
                        for (r, sum) in sums.into_iter().enumerate() {
                            store(sum, first + r, out);
                        }
                    }
                }
                ROWS
            }

            /// Weights lose 128 on the way, to be signed: `Σ w·x = Σ (w − 128)·x + 128·Σ x`.
            #[target_feature(enable = $features)]
            pub(super) fn int8_gemv(
                weights: &[Block],
                x: [&[i8]; 2],
                out: &mut [[i32; OUTPUTS_PER_PANEL]; 2],
            ) {
                let sign = vdupq_n_u8(0x80);
                let [high, low] = x.map(|x| x.as_chunks::<INPUTS_PER_INT8_BLOCK>().0);
                let mut sums = [[vdupq_n_s32(0); REGISTERS_PER_PANEL]; 2];
                for (block, (high, low)) in weights.iter().zip(high.iter().zip(low)) {
                    let x = [broadcast(*high), broadcast(*low)];
                    for r in 0..REGISTERS_PER_PANEL {
                        let weights = vreinterpretq_s8_u8(veorq_u8(load(block, r), sign));
                        for half in 0..2 {
                            sums[half][r] = $bytes(sums[half][r], weights, x[half]);
                        }
                    }
                }
                for ((sums, out), x) in sums.into_iter().zip(out).zip(x) {
                    let lost: i32 = x.iter().map(|&x| 128 * i32::from(x)).sum();
                    for (register, sum) in sums.into_iter().enumerate() {
                        store(vaddq_s32(sum, vdupq_n_s32(lost)), register, out);
                    }
                }
            }
        }
    };
}

/// Four products of at most 3 · 128 stay far below 2¹⁵.
#[target_feature(enable = "neon")]
#[inline]
fn codes_neon(sum: int32x4_t, codes: [int8x16_t; 4], x: int8x16_t) -> int32x4_t {
    let x = vreinterpretq_s32_s8(x);
    let x = [
        vreinterpret_s8_s32(vdup_laneq_s32::<0>(x)),
        vreinterpret_s8_s32(vdup_laneq_s32::<1>(x)),
        vreinterpret_s8_s32(vdup_laneq_s32::<2>(x)),
        vreinterpret_s8_s32(vdup_laneq_s32::<3>(x)),
    ];
    let mut low = vmull_s8(vget_low_s8(codes[0]), x[0]);
    let mut high = vmull_s8(vget_high_s8(codes[0]), x[0]);
    for s in 1..4 {
        low = vmlal_s8(low, vget_low_s8(codes[s]), x[s]);
        high = vmlal_s8(high, vget_high_s8(codes[s]), x[s]);
    }
    vpadalq_s16(sum, vpaddq_s16(low, high))
}

/// Two products of bytes need not fit 16 bits: they are added in 32.
#[target_feature(enable = "neon")]
#[inline]
fn bytes_neon(sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    let low = vmull_s8(vget_low_s8(weights), vget_low_s8(x));
    let high = vmull_s8(vget_high_s8(weights), vget_high_s8(x));
    vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)))
}

/// Two products of weights up to 3 fit 16 bits.
#[target_feature(enable = "neon")]
#[inline]
fn small_neon(sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    let low = vmull_s8(vget_low_s8(weights), vget_low_s8(x));
    let high = vmull_s8(vget_high_s8(weights), vget_high_s8(x));
    vpadalq_s16(sum, vpaddq_s16(low, high))
}

#[target_feature(enable = "neon,dotprod")]
#[inline]
fn codes_dot(sum: int32x4_t, codes: [int8x16_t; 4], x: int8x16_t) -> int32x4_t {
    let sum = sdot_lane::<0>(sum, codes[0], x);
    let sum = sdot_lane::<1>(sum, codes[1], x);
    let sum = sdot_lane::<2>(sum, codes[2], x);
    sdot_lane::<3>(sum, codes[3], x)
}

/// Each lane's four products with the four inputs `4 · LANE ..`.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn sdot_lane<const LANE: usize>(sum: int32x4_t, codes: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction reads and writes these registers alone. (Rust's intrinsic for it is
    // not stable.)
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {codes:v}.16b, {x:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            codes = in(vreg) codes,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

#[target_feature(enable = "neon,dotprod")]
#[inline]
fn bytes_dot(sum: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // All lanes of `x` are alike.
    sdot_lane::<0>(sum, weights, x)
}

kernels!(plain, "neon", codes_neon, bytes_neon, small_neon);
kernels!(dot, "neon,dotprod", codes_dot, bytes_dot, bytes_dot);

// The loops over floats need no feature that aarch64 does not have anyway.
static NEON: Kernels = Kernels {
    isa: Isa::Neon,
    ternary_gemv: plain::ternary_gemv,
    gemm: plain::gemm,
    ternary_gemm: None,
    int8_gemv: plain::int8_gemv,
    float: scalar::FLOAT,
};
static NEON_DOT: Kernels = Kernels {
    isa: Isa::NeonDot,
    ternary_gemv: dot::ternary_gemv,
    gemm: dot::gemm,
    ternary_gemm: None,
    int8_gemv: dot::int8_gemv,
    float: scalar::FLOAT,
};
