//! Heads out of the rows of the projections: norm of queries and keys, rotation, and one head after
//! the other in memory; and the backward pass.

use burn::tensor::DType;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    columns::sum_rows,
    tensors::{as_matrix, cubes, elements, empty},
    units::{CUBES_PER_BACKWARD, UNITS_PER_CUBE},
};

/// What the heads of a model are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Heads {
    /// Length of a sequence.
    pub(super) seq: usize,
    /// Heads of queries.
    pub(super) queries: usize,
    /// Heads of keys, and of values.
    pub(super) keys: usize,
    /// Width of a head.
    pub(super) dim: usize,
    /// Whether queries and keys are normalised.
    pub(super) norm: bool,
}

/// Angles `[seq, dim]`, and gains `[dim]` of queries and keys, if there is a norm.
#[derive(Debug, Clone)]
pub(super) struct HeadTables<R: CubeRuntime> {
    pub(super) cos: CubeTensor<R>,
    pub(super) sin: CubeTensor<R>,
    pub(super) gains: Option<[CubeTensor<R>; 2]>,
}

/// Queries, divided by √dim, keys and values, head by head; and the norms' factors.
#[derive(Debug, Clone)]
pub(super) struct Split<R: CubeRuntime> {
    /// `[batch, heads, seq, dim]`; keys and values `[batch, kv_heads, seq, dim]`.
    pub(super) qkv: [CubeTensor<R>; 3],
    /// `1 / √(mean(x²) + ε)` of the heads of queries and keys: `[tokens, heads + kv_heads]`.
    pub(super) factors: CubeTensor<R>,
}

impl Heads {
    fn width(self) -> usize {
        (self.queries + 2 * self.keys) * self.dim
    }

    fn scale(self) -> f32 {
        (self.dim as f64).sqrt().recip() as f32
    }

    /// Splits rows `[tokens, (heads + 2 · kv_heads) · dim]` into heads, rounded to `dtype`.
    pub(super) fn split<R: CubeRuntime>(
        self,
        rows: &CubeTensor<R>,
        tables: &HeadTables<R>,
        eps: f32,
        dtype: DType,
    ) -> Split<R> {
        let Self { seq, queries, keys, dim, norm } = self;
        let [tokens, _] = as_matrix(rows);
        let batch = tokens / seq;
        let heads = |heads: usize| empty(rows, [batch, heads, seq, dim], dtype);
        let split = Split {
            qkv: [heads(queries), heads(keys), heads(keys)],
            factors: empty(rows, [tokens, queries + keys], DType::F32),
        };
        let [q, k, v] = &split.qkv;
        let [of_q, of_k] =
            tables.gains.as_ref().map_or([&tables.cos; 2], |gains| [&gains[0], &gains[1]]);
        let launch = match dtype {
            DType::BF16 => split_heads::launch_unchecked::<half::bf16, R>,
            _ => split_heads::launch_unchecked::<f32, R>,
        };
        // SAFETY: a cube reads a row, and writes the places of its token.
        unsafe {
            launch(
                &rows.client,
                cubes(tokens),
                CubeDim::new_1d(UNITS_PER_CUBE as u32),
                elements(rows),
                elements(&tables.cos),
                elements(&tables.sin),
                elements(of_q),
                elements(of_k),
                elements(q),
                elements(k),
                elements(v),
                elements(&split.factors),
                tokens,
                seq,
                eps,
                self.scale(),
                queries,
                keys,
                dim,
                norm,
                UNITS_PER_CUBE,
            );
        }
        split
    }

    /// The gradient of the rows, from those of the heads, in f32; and those of the gains.
    pub(super) fn join<R: CubeRuntime>(
        self,
        grads: &[CubeTensor<R>; 3],
        rows: &CubeTensor<R>,
        tables: &HeadTables<R>,
        factors: &CubeTensor<R>,
    ) -> (CubeTensor<R>, Option<CubeTensor<R>>) {
        let Self { seq, queries, keys, dim, norm } = self;
        let [tokens, width] = as_matrix(rows);
        let to = empty(rows, [tokens, width], DType::F32);
        let tokens_of_cube = if norm { tokens.div_ceil(CUBES_PER_BACKWARD).max(1) } else { 1 };
        let count = tokens.div_ceil(tokens_of_cube);
        let partial = empty(rows, [if norm { count } else { 1 }, 2 * dim], DType::F32);
        let [dq, dk, dv] = grads;
        let [of_q, of_k] =
            tables.gains.as_ref().map_or([&tables.cos; 2], |gains| [&gains[0], &gains[1]]);
        // SAFETY: a cube reads and writes the places of its tokens.
        unsafe {
            join_heads::launch_unchecked::<R>(
                &rows.client,
                cubes(count),
                CubeDim::new_1d(UNITS_PER_CUBE as u32),
                elements(dq),
                elements(dk),
                elements(dv),
                elements(rows),
                elements(&tables.cos),
                elements(&tables.sin),
                elements(of_q),
                elements(of_k),
                elements(factors),
                elements(&to),
                elements(&partial),
                tokens,
                tokens_of_cube,
                seq,
                self.scale(),
                queries,
                keys,
                dim,
                norm,
                UNITS_PER_CUBE,
            );
        }
        debug_assert_eq!(width, self.width());
        (to, norm.then(|| sum_rows(&partial)))
    }
}

#[cube(launch_unchecked)]
fn split_heads<C: Numeric>(
    rows: &Array<f32>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    gains_q: &Array<f32>,
    gains_k: &Array<f32>,
    q: &mut Array<C>,
    k: &mut Array<C>,
    v: &mut Array<C>,
    factors: &mut Array<f32>,
    tokens: usize,
    seq: usize,
    eps: f32,
    scale: f32,
    #[comptime] queries: usize,
    #[comptime] keys: usize,
    #[comptime] dim: usize,
    #[comptime] norm: bool,
    #[comptime] units: usize,
) {
    let token = CUBE_POS as usize;
    if token >= tokens {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let rotated = comptime!(queries + keys);
    let width = comptime!((queries + 2 * keys) * dim);
    let mut row = SharedMemory::<f32>::new(width);
    let mut of_heads = SharedMemory::<f32>::new(rotated);
    let mut i = unit;
    while i < width {
        row[i] = rows[token * width + i];
        i += units;
    }
    sync_cube();
    if comptime!(norm) {
        let mut head = unit;
        while head < rotated {
            let mut squares = 0.0f32;
            for i in 0..dim {
                // Each unit begins somewhere else, so that they do not meet in a bank.
                let x = row[head * dim + (i + head) % dim];
                squares += x * x;
            }
            let factor = 1.0f32 / (squares / f32::cast_from(dim) + eps).sqrt();
            of_heads[head] = factor;
            factors[token * rotated + head] = factor;
            head += units;
        }
        sync_cube();
    }

    let position = token % seq;
    let sequence = token / seq;
    let half = comptime!(dim / 2);
    let mut i = unit;
    while i < width {
        let head = i / dim;
        let d = i % dim;
        let mut y = row[i];
        if head < rotated {
            let partner = (d + half) % dim;
            let mut other = row[head * dim + partner];
            if comptime!(norm) {
                let factor = of_heads[head];
                let is_query = head < queries;
                let gain = if is_query { gains_q[d] } else { gains_k[d] };
                let other_gain = if is_query { gains_q[partner] } else { gains_k[partner] };
                y = y * factor * gain;
                other = other * factor * other_gain;
            }
            let sign = 1.0f32 - 2.0f32 * f32::cast_from(d < half);
            let angle = position * dim + d;
            y = y * cos[angle] + sign * other * sin[angle];
        }
        if head < queries {
            q[((sequence * queries + head) * seq + position) * dim + d] = C::cast_from(y * scale);
        } else if head < rotated {
            let head = head - queries;
            k[((sequence * keys + head) * seq + position) * dim + d] = C::cast_from(y);
        } else {
            let head = head - rotated;
            v[((sequence * keys + head) * seq + position) * dim + d] = C::cast_from(y);
        }
        i += units;
    }
}

#[cube(launch_unchecked)]
fn join_heads(
    dq: &Array<f32>,
    dk: &Array<f32>,
    dv: &Array<f32>,
    rows: &Array<f32>,
    cos: &Array<f32>,
    sin: &Array<f32>,
    gains_q: &Array<f32>,
    gains_k: &Array<f32>,
    factors: &Array<f32>,
    to: &mut Array<f32>,
    partial: &mut Array<f32>,
    tokens: usize,
    tokens_of_cube: usize,
    seq: usize,
    scale: f32,
    #[comptime] queries: usize,
    #[comptime] keys: usize,
    #[comptime] dim: usize,
    #[comptime] norm: bool,
    #[comptime] units: usize,
) {
    let cube = CUBE_POS as usize;
    let begin = cube * tokens_of_cube;
    if begin >= tokens {
        terminate!();
    }
    let end = min(begin + tokens_of_cube, tokens);
    let unit = UNIT_POS as usize;
    let rotated = comptime!(queries + keys);
    let width = comptime!((queries + 2 * keys) * dim);
    let half = comptime!(dim / 2);
    // Gradients after the norm, and what it has seen.
    let mut grads = SharedMemory::<f32>::new(if norm { rotated * dim } else { 1usize });
    let mut seen = SharedMemory::<f32>::new(if norm { rotated * dim } else { 1usize });
    let mut along = SharedMemory::<f32>::new(if norm { rotated } else { 1usize });
    let mut for_gains = SharedMemory::<f32>::new(comptime!(2 * dim));
    if comptime!(norm) {
        let mut i = unit;
        while i < comptime!(2 * dim) {
            for_gains[i] = 0.0f32;
            i += units;
        }
    }
    for token in begin..end {
        let position = token % seq;
        let sequence = token / seq;
        let mut i = unit;
        while i < width {
            let head = i / dim;
            let d = i % dim;
            if head >= rotated {
                let head = head - rotated;
                to[token * width + i] = dv[((sequence * keys + head) * seq + position) * dim + d];
            } else {
                let partner = (d + half) % dim;
                let sign = 2.0f32 * f32::cast_from(d < half) - 1.0f32;
                let angle = position * dim;
                let of_query = ((sequence * queries + head) * seq + position) * dim;
                let of_key = ((sequence * keys + head - queries) * seq + position) * dim;
                let is_query = head < queries;
                let x = if is_query { dq[of_query + d] * scale } else { dk[of_key + d] };
                let other =
                    if is_query { dq[of_query + partner] * scale } else { dk[of_key + partner] };
                let y = x * cos[angle + d] + sign * other * sin[angle + partner];
                if comptime!(norm) {
                    grads[i] = y;
                    seen[i] = rows[token * width + i];
                } else {
                    to[token * width + i] = y;
                }
            }
            i += units;
        }
        if comptime!(norm) {
            sync_cube();
            let mut head = unit;
            while head < rotated {
                let mut dot = 0.0f32;
                for i in 0..dim {
                    let d = (i + head) % dim;
                    let gain = if head < queries { gains_q[d] } else { gains_k[d] };
                    dot += grads[head * dim + d] * seen[head * dim + d] * gain;
                }
                let factor = factors[token * rotated + head];
                along[head] = dot * factor * factor / f32::cast_from(dim);
                head += units;
            }
            let mut i = unit;
            while i < comptime!(2 * dim) {
                let d = i % dim;
                let mut first = 0usize;
                let mut last = queries.runtime();
                if i >= dim {
                    first = queries.runtime();
                    last = rotated.runtime();
                }
                let mut sum = for_gains[i];
                for head in first..last {
                    let at = head * dim + d;
                    sum += grads[at] * seen[at] * factors[token * rotated + head];
                }
                for_gains[i] = sum;
                i += units;
            }
            sync_cube();
            let mut i = unit;
            while i < comptime!(rotated * dim) {
                let head = i / dim;
                let d = i % dim;
                let gain = if head < queries { gains_q[d] } else { gains_k[d] };
                let factor = factors[token * rotated + head];
                to[token * width + i] = factor * (grads[i] * gain - seen[i] * along[head]);
                i += units;
            }
            sync_cube();
        }
    }
    if comptime!(norm) {
        let mut i = unit;
        while i < comptime!(2 * dim) {
            partial[cube * comptime!(2 * dim) + i] = for_gains[i];
            i += units;
        }
    }
}
