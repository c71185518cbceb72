use burn::tensor::{Tensor, TensorMetadata, backend::Backend};
use burn_flex::FlexTensor;
use multiversion::multiversion;
use rayon::prelude::*;

use super::{
    kernel::{Kernel, compute, primitive, tensor, values},
    small_gemm::{LANES, Product, ROWS},
};
use crate::float::{exp, maximum, sum};

/// Multiplications that are worth a second thread.
const WORTH_SHARING: usize = 1 << 18;

/// `softmax(q · kᵀ) · v`, where a query sees the keys up to its own position. Scores are made for
/// eight queries at a time, forward and again backward, and kept nowhere; those that a query does
/// not see are not computed.
///
/// # Shapes
/// - `q`: `[batch, kv_heads, group · seq, dim_head]`, scaled; the output has the same shape. The
///   query in row `i` stands at position `start + i mod seq`.
/// - `k`, `v`: `[batch, kv_heads, start + seq, dim_head]`
pub(crate) fn causal_attention<B: Backend>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    seq: usize,
    start: usize,
) -> Tensor<B, 4> {
    compute::<B, _, 3, 4>(CausalAttention { seq, start }, [q, k, v].map(primitive))
}

#[derive(Debug, Clone)]
struct CausalAttention {
    seq: usize,
    start: usize,
}

#[derive(Debug, Clone)]
struct Saved {
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    /// Logarithm of the sum of a query's exponentials, `[batch, kv_heads, group · seq]`.
    log_sums: Vec<f32>,
}

impl Kernel<3> for CausalAttention {
    type Saved = Saved;

    fn forward(&self, [q, k, v]: [FlexTensor; 3]) -> (FlexTensor, Saved) {
        let [heads, queries, keys, dim] = sizes(&q, &k);
        let mut out = vec![0.0; heads * queries * dim];
        let mut log_sums = vec![0.0; heads * queries];
        let parts = values(&q).par_chunks_exact(queries * dim);
        let parts = parts.zip(values(&k).par_chunks_exact(keys * dim));
        let parts = parts.zip(values(&v).par_chunks_exact(keys * dim));
        let parts = parts.zip(out.par_chunks_exact_mut(queries * dim));
        parts
            .zip(log_sums.par_chunks_exact_mut(queries))
            .with_min_len(share(&q, &k))
            .for_each(|((((q, k), v), out), log_sums)| self.head([q, k, v], dim, out, log_sums));
        let out = tensor(out, q.layout().shape().clone());
        (out, Saved { q, k, v, log_sums })
    }

    fn backward(
        &self,
        Saved { q, k, v, log_sums }: Saved,
        grad: FlexTensor,
        _: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let [heads, queries, keys, dim] = sizes(&q, &k);
        let mut dq = vec![0.0; heads * queries * dim];
        let [mut dk, mut dv] = [(); 2].map(|()| vec![0.0; heads * keys * dim]);
        let parts = values(&q).par_chunks_exact(queries * dim);
        let parts = parts.zip(values(&k).par_chunks_exact(keys * dim));
        let parts = parts.zip(values(&v).par_chunks_exact(keys * dim));
        let parts = parts.zip(values(&grad).par_chunks_exact(queries * dim));
        let parts = parts.zip(log_sums.par_chunks_exact(queries));
        let parts = parts.zip(dq.par_chunks_exact_mut(queries * dim));
        let parts = parts.zip(dk.par_chunks_exact_mut(keys * dim));
        parts.zip(dv.par_chunks_exact_mut(keys * dim)).with_min_len(share(&q, &k)).for_each(
            |(((((((q, k), v), grad), log_sums), dq), dk), dv)| {
                self.pull_back([q, k, v], dim, grad, log_sums, [dq, dk, dv]);
            },
        );
        let of = |values, like: &FlexTensor| Some(tensor(values, like.layout().shape().clone()));
        [of(dq, &q), of(dk, &k), of(dv, &v)]
    }
}

/// Heads of keys in all, and of one of them: queries, keys, and their size.
fn sizes(q: &FlexTensor, k: &FlexTensor) -> [usize; 4] {
    let (q, k) = (q.shape(), k.shape());
    [q[0] * q[1], q[2], k[2], q[3]]
}

/// Heads that are worth a task of their own.
fn share(q: &FlexTensor, k: &FlexTensor) -> usize {
    let [_, queries, keys, dim] = sizes(q, k);
    WORTH_SHARING.div_ceil((queries * keys * dim).max(1))
}

impl CausalAttention {
    /// Blocks of the queries of one head: the first, their number, and how many keys it sees.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Self { seq, start } = *self;
        (0..seq).step_by(ROWS).map(move |row| (row, ROWS.min(seq - row), start + row + 1))
    }

    /// One head of keys and values, and all heads of queries that see it.
    fn head(&self, [q, k, v]: [&[f32]; 3], dim: usize, out: &mut [f32], log_sums: &mut [f32]) {
        let keys = k.len() / dim;
        let width = keys.next_multiple_of(LANES);
        let k = transposed(k, dim, width);
        let mut scores = vec![0.0; ROWS * width];
        let heads = q.chunks_exact(self.seq * dim).zip(out.chunks_exact_mut(self.seq * dim));
        for ((q, out), log_sums) in heads.zip(log_sums.chunks_exact_mut(self.seq)) {
            for (first, rows, sees) in self.blocks() {
                let all = sees + rows - 1;
                let q = &q[first * dim..];
                rows_times(q, dim, [rows, dim, all], &k, width).write(&mut scores, width);
                let mut factors = [0.0; ROWS];
                for (row, scores) in scores.chunks_exact_mut(width).take(rows).enumerate() {
                    let (seen, hidden) = scores[..all].split_at_mut(sees + row);
                    let (highest, total) = exponentials(seen);
                    hidden.fill(0.0);
                    log_sums[first + row] = highest + total.ln();
                    factors[row] = 1.0 / total;
                }
                let out = &mut out[first * dim..][..rows * dim];
                rows_times(&scores, width, [rows, all, dim], v, dim).write(out, dim);
                for (out, factor) in out.chunks_exact_mut(dim).zip(factors) {
                    out.iter_mut().for_each(|out| *out *= factor);
                }
            }
        }
    }

    /// The gradients for one head of keys and values.
    fn pull_back(
        &self,
        [q, k, v]: [&[f32]; 3],
        dim: usize,
        grad: &[f32],
        log_sums: &[f32],
        [dq, dk, dv]: [&mut [f32]; 3],
    ) {
        let keys = k.len() / dim;
        let width = keys.next_multiple_of(LANES);
        let [k_t, v_t] = [k, v].map(|matrix| transposed(matrix, dim, width));
        // `[seq, width]`. What no query of a block sees stays zero.
        let [mut weights, mut slopes] = [(); 2].map(|()| vec![0.0; self.seq * width]);
        let size = self.seq * dim;
        let heads = q.chunks_exact(size).zip(grad.chunks_exact(size));
        let heads = heads.zip(dq.chunks_exact_mut(size));
        for (((q, grad), dq), log_sums) in heads.zip(log_sums.chunks_exact(self.seq)) {
            for (first, rows, sees) in self.blocks() {
                let all = sees + rows - 1;
                let weights = &mut weights[first * width..][..rows * width];
                let slopes = &mut slopes[first * width..][..rows * width];
                let (q, grad) = (&q[first * dim..], &grad[first * dim..]);
                rows_times(q, dim, [rows, dim, all], &k_t, width).write(weights, width);
                rows_times(grad, dim, [rows, dim, all], &v_t, width).write(slopes, width);
                let both = weights.chunks_exact_mut(width).zip(slopes.chunks_exact_mut(width));
                for (row, (weights, slopes)) in both.enumerate() {
                    let seen = sees + row;
                    let log_sum = log_sums[first + row];
                    softmax_slopes(&mut weights[..seen], &mut slopes[..seen], log_sum);
                    weights[seen..all].fill(0.0);
                    slopes[seen..all].fill(0.0);
                }
                let dq = &mut dq[first * dim..];
                rows_times(slopes, width, [rows, all, dim], k, dim).write(dq, dim);
            }
            for key in (0..keys).step_by(ROWS) {
                // The first query that sees it.
                let first = key.saturating_sub(self.start);
                let add = |left: &[f32], right: &[f32], out: &mut [f32]| {
                    let product = Product {
                        a: &left[first * width + key..],
                        strides: [1, width],
                        b: &right[first * dim..],
                        stride: dim,
                        rows: ROWS.min(keys - key),
                        inner: self.seq - first,
                        columns: dim,
                    };
                    product.add(&mut out[key * dim..], dim);
                };
                add(&slopes, q, dk);
                add(&weights, grad, dv);
            }
        }
    }
}

/// The product of rows that begin every `a_stride` elements.
///
/// # Shapes
/// - `shape`: rows, inner, columns
fn rows_times<'a>(
    a: &'a [f32],
    a_stride: usize,
    [rows, inner, columns]: [usize; 3],
    b: &'a [f32],
    stride: usize,
) -> Product<'a> {
    Product { a, strides: [a_stride, 1], b, stride, rows, inner, columns }
}

/// `[rows, dim]` as `[dim, width]`, with zeros behind the rows.
fn transposed(matrix: &[f32], dim: usize, width: usize) -> Vec<f32> {
    let mut to = vec![0.0; dim * width];
    for (row, values) in matrix.chunks_exact(dim).enumerate() {
        for (to, value) in to[row..].iter_mut().step_by(width).zip(values) {
            *to = *value;
        }
    }
    to
}

/// Replaces scores by their exponentials over that of the highest; gives that one, and the sum.
#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn exponentials(scores: &mut [f32]) -> (f32, f32) {
    let highest = maximum(scores);
    for score in &mut *scores {
        *score = exp(*score - highest);
    }
    (highest, sum(scores.len(), |i| scores[i]))
}

/// Replaces scores by softmax weights, and the gradients of the weights by those of the scores.
#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn softmax_slopes(scores: &mut [f32], slopes: &mut [f32], log_sum: f32) {
    for score in &mut *scores {
        *score = exp(*score - log_sum);
    }
    let mean = sum(scores.len().min(slopes.len()), |i| scores[i] * slopes[i]);
    for (slope, weight) in slopes.iter_mut().zip(scores) {
        *slope = *weight * (*slope - mean);
    }
}
