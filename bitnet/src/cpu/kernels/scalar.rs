//! Plain loops: what the other kernels are tested against.

use super::{
    float::{self, Float},
    layout::{Block, INPUTS_PER_INT8_BLOCK, INPUTS_PER_TERNARY_BLOCK, OUTPUTS_PER_PANEL, Rows},
    table::Kernels,
};
use crate::cpu::isa::Isa;

pub(super) static KERNELS: Kernels =
    Kernels { isa: Isa::Scalar, gemm, ternary_gemm: None, ternary_gemv, int8_gemv, float: FLOAT };

/// The loops over floats, for any processor that this was compiled for.
pub(super) const FLOAT: Float = Float {
    dot: float::dot,
    dot_bf16: float::dot,
    scores: float::scores::<_, 16>,
    scores_int8: float::scores::<_, 16>,
    softmax: float::softmax,
    weighted_sum: float::weighted_sum::<_, 16>,
    weighted_sum_int8: float::weighted_sum::<_, 16>,
};

/// Byte `b` of lane `row` holds four codes; the one at bits `2s` belongs to input `4s + b`.
fn ternary_gemv(codes: &[Block], x: &[i8], out: &mut [i32; OUTPUTS_PER_PANEL]) {
    *out = [0; OUTPUTS_PER_PANEL];
    let blocks = codes.iter().zip(x.as_chunks::<INPUTS_PER_TERNARY_BLOCK>().0);
    for (block, x) in blocks {
        for (lane, sum) in block.0.as_chunks::<4>().0.iter().zip(out.iter_mut()) {
            for (input, &x) in x.iter().enumerate() {
                let code = lane[input % 4] >> (2 * (input / 4)) & 3;
                *sum = sum.wrapping_add(i32::from(code) * i32::from(x));
            }
        }
    }
}

fn gemm(weights: &[Block], codes: Rows<'_>, adds: bool, out: &mut [[i32; OUTPUTS_PER_PANEL]]) {
    for (row, out) in out.iter_mut().enumerate() {
        if !adds {
            *out = [0; OUTPUTS_PER_PANEL];
        }
        for (block, x) in weights.iter().zip(codes.row(row, weights.len())) {
            for (lane, sum) in
                block.0.as_chunks::<INPUTS_PER_INT8_BLOCK>().0.iter().zip(out.iter_mut())
            {
                for (&weight, &x) in lane.iter().zip(x) {
                    *sum = sum.wrapping_add(i32::from(weight) * i32::from(x));
                }
            }
        }
    }
}

/// Byte `b` of lane `row` is the weight of input `b`.
fn int8_gemv(weights: &[Block], x: [&[i8]; 2], out: &mut [[i32; OUTPUTS_PER_PANEL]; 2]) {
    for (x, out) in x.into_iter().zip(out) {
        *out = [0; OUTPUTS_PER_PANEL];
        let blocks = weights.iter().zip(x.as_chunks::<INPUTS_PER_INT8_BLOCK>().0);
        for (block, x) in blocks {
            for (lane, sum) in block.0.as_chunks::<4>().0.iter().zip(out.iter_mut()) {
                let products = lane.iter().zip(x).map(|(&w, &x)| i32::from(w) * i32::from(x));
                *sum += products.sum::<i32>();
            }
        }
    }
}
