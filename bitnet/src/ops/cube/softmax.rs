//! Causal softmax of scores in memory, and the places of heads, for devices without the kernels
//! that compute attention as a whole.

use burn::tensor::DType;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    heads::Heads,
    tensors::{as_matrix, cubes, elements, empty, len, units},
    units::{cube_max, cube_sum},
};

/// Replaces scores by their softmax over the keys that a query attends to; the others become zero.
///
/// # Shapes
/// - `scores`: `[..., seq]`; the query of row `i` stands at position `i mod seq`.
pub(super) fn softmax<R: CubeRuntime>(scores: &CubeTensor<R>) {
    let [rows, seq] = as_matrix(scores);
    let units = units(seq);
    // SAFETY: a cube reads and writes one row.
    unsafe {
        causal_softmax::launch_unchecked::<R>(
            &scores.client,
            cubes(rows),
            CubeDim::new_1d(units),
            elements(scores),
            rows,
            seq,
            units as usize,
        );
    }
}

/// Replaces gradients of the weights by those of the scores.
pub(super) fn softmax_backward<R: CubeRuntime>(weights: &CubeTensor<R>, grads: &CubeTensor<R>) {
    let [rows, seq] = as_matrix(weights);
    let units = units(seq);
    // SAFETY: a cube reads and writes one row.
    unsafe {
        causal_softmax_backward::launch_unchecked::<R>(
            &weights.client,
            cubes(rows),
            CubeDim::new_1d(units),
            elements(weights),
            elements(grads),
            rows,
            seq,
            units as usize,
        );
    }
}

/// Brings `[tokens, heads · dim]` into `[batch, heads, seq, dim]`, or back.
pub(super) fn moved<R: CubeRuntime>(
    tensor: &CubeTensor<R>,
    heads: Heads,
    into_heads: bool,
) -> CubeTensor<R> {
    let Heads { seq, queries, dim, .. } = heads;
    let elements_of_all = len(tensor);
    let tokens = elements_of_all / (queries * dim);
    let to = if into_heads {
        empty(tensor, [tokens / seq, queries, seq, dim], DType::F32)
    } else {
        empty(tensor, [tokens, queries * dim], DType::F32)
    };
    // SAFETY: a unit reads and writes one element, if there is one.
    unsafe {
        move_heads::launch_unchecked::<R>(
            &tensor.client,
            cubes(elements_of_all.div_ceil(256)),
            CubeDim::new_1d(256),
            elements(tensor),
            elements(&to),
            elements_of_all,
            seq,
            queries,
            dim,
            into_heads,
        );
    }
    to
}

#[cube(launch_unchecked)]
fn causal_softmax(scores: &mut Array<f32>, rows: usize, seq: usize, #[comptime] units: usize) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let seen = row % seq + 1;
    let first = row * seq;
    let unit = UNIT_POS as usize;
    let mut highest = f32::min_value();
    let mut i = unit;
    while i < seen {
        highest = max(highest, scores[first + i]);
        i += units;
    }
    let highest = cube_max(highest, units);
    let mut total = 0.0f32;
    let mut i = unit;
    while i < seen {
        total += (scores[first + i] - highest).exp();
        i += units;
    }
    let factor = 1.0f32 / cube_sum(total, units);
    let mut i = unit;
    while i < seq {
        let mut weight = 0.0f32;
        if i < seen {
            weight = (scores[first + i] - highest).exp() * factor;
        }
        scores[first + i] = weight;
        i += units;
    }
}

#[cube(launch_unchecked)]
fn causal_softmax_backward(
    weights: &Array<f32>,
    grads: &mut Array<f32>,
    rows: usize,
    seq: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let seen = row % seq + 1;
    let first = row * seq;
    let unit = UNIT_POS as usize;
    let mut dot = 0.0f32;
    let mut i = unit;
    while i < seen {
        dot += weights[first + i] * grads[first + i];
        i += units;
    }
    let dot = cube_sum(dot, units);
    let mut i = unit;
    while i < seq {
        let mut grad = 0.0f32;
        if i < seen {
            grad = weights[first + i] * (grads[first + i] - dot);
        }
        grads[first + i] = grad;
        i += units;
    }
}

#[cube(launch_unchecked)]
fn move_heads(
    from: &Array<f32>,
    to: &mut Array<f32>,
    count: usize,
    seq: usize,
    heads: usize,
    dim: usize,
    #[comptime] into_heads: bool,
) {
    let i = ABSOLUTE_POS;
    if i < count {
        let d = i % dim;
        let head = i / dim % heads;
        let token = i / dim / heads;
        let other = ((token / seq * heads + head) * seq + token % seq) * dim + d;
        if comptime!(into_heads) {
            to[other] = from[i];
        } else {
            to[i] = from[other];
        }
    }
}
