//! Attention of one head of keys and values, and of the heads of queries that attend to it.

use super::{
    float::FLOATS_PER_VECTOR,
    gemm::{
        in_cache::Product,
        word::{Word, round},
    },
    isa,
    softmax::{exponentials, softmax_slopes},
    vectorized,
};

/// Queries whose scores are computed together, and keys whose gradients are.
const ROWS_PER_BLOCK: usize = 8;

/// Causal attention over operands that lie in the cache.
#[derive(Debug, Clone)]
pub(crate) struct CausalAttention {
    /// Number of queries of a head.
    pub(crate) seq: usize,
    /// Position of the first.
    pub(crate) start: usize,
    /// Width of a head.
    pub(crate) dim: usize,
    /// Whether products are those of operands rounded to bf16, with sums in f32, where the
    /// processor has such.
    pub(crate) bf16: bool,
}

/// The form of operands.
trait Operand: Word {
    /// The first `used` values of rows as elements, in rows of `width / VALUES`.
    fn in_rows<'a>(
        values: &'a [f32],
        width: usize,
        used: usize,
        room: &'a mut Vec<Self>,
    ) -> &'a [Self];

    /// The first `used` columns of rows, as elements of so many rows each.
    fn of_rows(values: &[f32], width: usize, used: usize, to: &mut [Self]);
}

impl Operand for f32 {
    fn in_rows<'a>(values: &'a [f32], _: usize, _: usize, _: &'a mut Vec<f32>) -> &'a [f32] {
        values
    }

    fn of_rows(values: &[f32], width: usize, used: usize, to: &mut [f32]) {
        for (to, row) in to.chunks_exact_mut(width).zip(values.chunks_exact(width)) {
            to[..used].copy_from_slice(&row[..used]);
        }
    }
}

/// Two values in bf16.
impl Operand for u32 {
    fn in_rows<'a>(
        values: &'a [f32],
        width: usize,
        used: usize,
        room: &'a mut Vec<u32>,
    ) -> &'a [u32] {
        room.resize(values.len() / 2, 0);
        for (to, row) in room.chunks_exact_mut(width / 2).zip(values.chunks_exact(width)) {
            let row = &row[..used.next_multiple_of(2)];
            u32::round(row, 1.0, bytemuck::cast_slice_mut(&mut to[..row.len() / 2]));
        }
        room
    }

    fn of_rows(values: &[f32], width: usize, used: usize, to: &mut [u32]) {
        pairs_of_rows(values, width, used, to);
    }
}

vectorized! {
    /// Rounds the first `used` values of rows of this width, those of two rows that follow one another
    /// to a row of words; beside a last row alone there are zeros.
    fn pairs_of_rows(values: &[f32], width: usize, used: usize, words: &mut [u32]) {
        for (rows, words) in values.chunks(2 * width).zip(words.chunks_exact_mut(width)) {
            let (first, second) = rows.split_at(width);
            let words = &mut words[..used];
            if second.is_empty() {
                words.iter_mut().zip(first).for_each(|(word, &x)| *word = round(x));
            }
            for ((word, &a), &b) in words.iter_mut().zip(first).zip(second) {
                *word = round(a) | round(b) << 16;
            }
        }
    }
}

impl CausalAttention {
    fn in_bf16(&self) -> bool {
        self.bf16 && self.dim.is_multiple_of(2) && isa::has_bf16_products()
    }

    /// The output and the logarithm of each query's sum of exponentials.
    ///
    /// # Shapes
    /// - `q`: `[group, seq, dim]`, scaled; `out` has the same shape
    /// - `k`, `v`: `[start + seq, dim]`
    /// - `log_sums`: `[group, seq]`
    pub(crate) fn forward(&self, operands: [&[f32]; 3], out: &mut [f32], log_sums: &mut [f32]) {
        if self.in_bf16() {
            self.forward_in::<u32>(operands, out, log_sums);
        } else {
            self.forward_in::<f32>(operands, out, log_sums);
        }
    }

    /// The gradients of the operands, from that of the output.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); `grad` as its output.
    pub(crate) fn backward(
        &self,
        operands: [&[f32]; 3],
        grad: &[f32],
        log_sums: &[f32],
        gradients: [&mut [f32]; 3],
    ) {
        if self.in_bf16() {
            self.backward_in::<u32>(operands, grad, log_sums, gradients);
        } else {
            self.backward_in::<f32>(operands, grad, log_sums, gradients);
        }
    }

    /// Blocks of the queries of one head: the first, their number, and how many keys it attends to.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Self { seq, start, .. } = *self;
        (0..seq)
            .step_by(ROWS_PER_BLOCK)
            .map(move |row| (row, ROWS_PER_BLOCK.min(seq - row), start + row + 1))
    }

    fn forward_in<T: Operand>(
        &self,
        [q, k, v]: [&[f32]; 3],
        out: &mut [f32],
        log_sums: &mut [f32],
    ) {
        let dim = self.dim;
        let keys = k.len() / dim;
        let width = keys.next_multiple_of(FLOATS_PER_VECTOR);
        let inner = dim / T::VALUES;
        let [mut room, mut of_weights] = [Vec::new(), Vec::new()];
        let k = transposed(T::in_rows(k, dim, dim, &mut room), inner, width);
        let mut v_rows = vec![T::default(); keys.div_ceil(T::VALUES) * dim];
        T::of_rows(v, dim, dim, &mut v_rows);
        let mut scores = vec![0.0; ROWS_PER_BLOCK * width];
        let heads = q.chunks_exact(self.seq * dim).zip(out.chunks_exact_mut(self.seq * dim));
        for ((q, out), log_sums) in heads.zip(log_sums.chunks_exact_mut(self.seq)) {
            let q = T::in_rows(q, dim, dim, &mut room);
            for (first, rows, sees) in self.blocks() {
                let all = sees + rows - 1;
                // Of the vectors that hold them.
                let end = all.next_multiple_of(FLOATS_PER_VECTOR);
                let q = &q[first * inner..];
                rows_times(q, inner, [rows, inner, all], &k, width).write(&mut scores, width);
                let mut factors = [0.0; ROWS_PER_BLOCK];
                for (row, scores) in scores.chunks_exact_mut(width).take(rows).enumerate() {
                    let scores = &mut scores[..end];
                    scores[sees + row..].fill(f32::NEG_INFINITY);
                    let (highest, total) = exponentials(scores);
                    log_sums[first + row] = highest + total.ln();
                    factors[row] = 1.0 / total;
                }
                let weights = T::in_rows(&scores, width, all, &mut of_weights);
                let out = &mut out[first * dim..][..rows * dim];
                let shape = [rows, all.div_ceil(T::VALUES), dim];
                rows_times(weights, width / T::VALUES, shape, &v_rows, dim).write(out, dim);
                for (out, factor) in out.chunks_exact_mut(dim).zip(factors) {
                    out.iter_mut().for_each(|out| *out *= factor);
                }
            }
        }
    }

    fn backward_in<T: Operand>(
        &self,
        [q, k, v]: [&[f32]; 3],
        grad: &[f32],
        log_sums: &[f32],
        [dq, dk, dv]: [&mut [f32]; 3],
    ) {
        let dim = self.dim;
        let keys = k.len() / dim;
        let width = keys.next_multiple_of(FLOATS_PER_VECTOR);
        let inner = dim / T::VALUES;
        let queries = self.seq.div_ceil(T::VALUES);
        let mut rooms: [Vec<T>; 3] = Default::default();
        let [k_t, v_t] = [k, v]
            .map(|matrix| transposed(T::in_rows(matrix, dim, dim, &mut rooms[0]), inner, width));
        let mut k_rows = vec![T::default(); keys.div_ceil(T::VALUES) * dim];
        T::of_rows(k, dim, dim, &mut k_rows);
        let [mut weights, mut slopes] = [(); 2].map(|()| vec![0.0; ROWS_PER_BLOCK * width]);
        // `[seq, width]`. What no query of a block sees stays zero.
        let [mut all_weights, mut all_slopes] =
            [(); 2].map(|()| vec![T::default(); queries * width]);
        let [mut q_rows, mut grad_rows] = [(); 2].map(|()| vec![T::default(); queries * dim]);
        let size = self.seq * dim;
        let heads = q.chunks_exact(size).zip(grad.chunks_exact(size));
        let heads = heads.zip(dq.chunks_exact_mut(size));
        for (((q, grad), dq), log_sums) in heads.zip(log_sums.chunks_exact(self.seq)) {
            T::of_rows(q, dim, dim, &mut q_rows);
            T::of_rows(grad, dim, dim, &mut grad_rows);
            let [of_q, of_grad, of_slopes] = &mut rooms;
            let (q, grad) = (T::in_rows(q, dim, dim, of_q), T::in_rows(grad, dim, dim, of_grad));
            for (first, rows, sees) in self.blocks() {
                let all = sees + rows - 1;
                // Of the vectors that hold them.
                let end = all.next_multiple_of(FLOATS_PER_VECTOR);
                let shape = [rows, inner, all];
                rows_times(&q[first * inner..], inner, shape, &k_t, width)
                    .write(&mut weights, width);
                rows_times(&grad[first * inner..], inner, shape, &v_t, width)
                    .write(&mut slopes, width);
                let both = weights.chunks_exact_mut(width).zip(slopes.chunks_exact_mut(width));
                for (row, (weights, slopes)) in both.take(rows).enumerate() {
                    let (weights, slopes) = (&mut weights[..end], &mut slopes[..end]);
                    weights[sees + row..].fill(f32::NEG_INFINITY);
                    slopes[sees + row..].fill(0.0);
                    softmax_slopes(weights, slopes, log_sums[first + row]);
                }
                for (rows_of, all_of) in [(&weights, &mut all_weights), (&slopes, &mut all_slopes)]
                {
                    let count = rows.div_ceil(T::VALUES);
                    let to = &mut all_of[first / T::VALUES * width..][..count * width];
                    T::of_rows(&rows_of[..rows * width], width, all, to);
                }
                let slopes = T::in_rows(&slopes, width, all, of_slopes);
                let dq = &mut dq[first * dim..];
                let shape = [rows, all.div_ceil(T::VALUES), dim];
                rows_times(slopes, width / T::VALUES, shape, &k_rows, dim).write(dq, dim);
            }
            for key in (0..keys).step_by(ROWS_PER_BLOCK) {
                // The first query that sees it, or the one before.
                let first = key.saturating_sub(self.start) / T::VALUES;
                let add = |left: &[T], right: &[T], out: &mut [f32]| {
                    let product = Product {
                        a: &left[first * width + key..],
                        strides: [1, width],
                        b: &right[first * dim..],
                        stride: dim,
                        rows: ROWS_PER_BLOCK.min(keys - key),
                        inner: queries - first,
                        columns: dim,
                    };
                    product.add(&mut out[key * dim..], dim);
                };
                add(&all_slopes, &q_rows, dk);
                add(&all_weights, &grad_rows, dv);
            }
        }
    }
}

/// The product of rows that begin every `a_stride` elements.
///
/// # Shapes
/// - `shape`: rows, inner, columns
fn rows_times<'a, T>(
    a: &'a [T],
    a_stride: usize,
    [rows, inner, columns]: [usize; 3],
    b: &'a [T],
    stride: usize,
) -> Product<'a, T> {
    Product { a, strides: [a_stride, 1], b, stride, rows, inner, columns }
}

/// `[rows, dim]` as `[dim, width]`, with zeros after the rows.
fn transposed<T: Operand>(matrix: &[T], dim: usize, width: usize) -> Vec<T> {
    let mut to = vec![T::default(); dim * width];
    // A line of the cache at a time.
    for (block, rows) in matrix.chunks(FLOATS_PER_VECTOR * dim).enumerate() {
        for column in 0..dim {
            let to = &mut to[column * width + block * FLOATS_PER_VECTOR..][..rows.len() / dim];
            for (to, row) in to.iter_mut().zip(rows.chunks_exact(dim)) {
                *to = row[column];
            }
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(count: usize, seed: i32) -> Vec<f32> {
        let noise = |i: usize| (i as i32).wrapping_mul(1_103_515_245).wrapping_add(seed) >> 8;
        (0..count).map(|i| (noise(i) % 1001) as f32 / 600.0).collect()
    }

    /// Output and gradients by their definition, in 64 bits.
    fn simple(attention: &CausalAttention, [q, k, v]: [&[f32]; 3], grad: &[f32]) -> [Vec<f64>; 4] {
        let CausalAttention { seq, start, dim, .. } = *attention;
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let [mut out, mut dq] = [(); 2].map(|()| vec![0.0; q.len()]);
        let [mut dk, mut dv] = [(); 2].map(|()| vec![0.0; k.len()]);
        for (row, (q, grad)) in q.chunks_exact(dim).zip(grad.chunks_exact(dim)).enumerate() {
            let seen = start + row % seq + 1;
            let keys = || k.chunks_exact(dim).zip(v.chunks_exact(dim)).take(seen);
            let weights: Vec<f64> = keys().map(|(k, _)| dot(q, k).exp()).collect();
            let total: f64 = weights.iter().sum();
            let slopes: Vec<f64> = keys().map(|(_, v)| dot(grad, v)).collect();
            let mean: f64 = weights.iter().zip(&slopes).map(|(w, s)| w / total * s).sum();
            for (key, (k, v)) in keys().enumerate() {
                let weight = weights[key] / total;
                let slope = weight * (slopes[key] - mean);
                for i in 0..dim {
                    out[row * dim + i] += weight * f64::from(v[i]);
                    dq[row * dim + i] += slope * f64::from(k[i]);
                    dk[key * dim + i] += slope * f64::from(q[i]);
                    dv[key * dim + i] += weight * f64::from(grad[i]);
                }
            }
        }
        [out, dq, dk, dv]
    }

    proptest! {
        #[test]
        fn any_shape_is_that_of_the_definition(
            group in 1_usize..4,
            seq in 1_usize..45,
            start in 0_usize..20,
            half in 1_usize..20,
            bf16 in any::<bool>(),
            seed in any::<i32>(),
        ) {
            let dim = if bf16 { 2 * half } else { half };
            let attention = CausalAttention { seq, start, dim, bf16 };
            let (queries, keys) = (group * seq, start + seq);
            let q: Vec<f32> = values(queries * dim, seed).iter().map(|x| x / dim as f32).collect();
            let [k, v] = [1, 2].map(|i| values(keys * dim, seed ^ i));
            let grad = values(queries * dim, seed ^ 3);
            let operands = [q.as_slice(), &k, &v];
            let mut found = [queries, queries, keys, keys].map(|rows| vec![0.0; rows * dim]);
            let mut log_sums = vec![0.0; queries];
            attention.forward(operands, &mut found[0], &mut log_sums);
            let [_, gradients @ ..] = &mut found;
            attention.backward(operands, &grad, &log_sums, gradients.each_mut().map(|g| &mut g[..]));
            let tolerance = if bf16 { 3e-2 } else { 1e-5 };
            for (which, (found, expected)) in
                found.iter().zip(simple(&attention, operands, &grad)).enumerate()
            {
                let highest = expected.iter().fold(0.05_f64, |a, b| a.max(b.abs()));
                for (&found, expected) in found.iter().zip(expected) {
                    let off = (f64::from(found) - expected).abs();
                    prop_assert!(off <= tolerance * highest, "{which}: {found} for {expected}");
                }
            }
        }
    }
}
