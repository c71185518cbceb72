use burn::tensor::{Tensor, TensorMetadata, backend::Backend};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::tensor::{compute, tensor, values};
use crate::{
    cpu::{attention::CausalAttention, uninit::zeros},
    ops::autodiff::{DifferentiableOp, primitive},
};

/// Multiplications that are worth a second thread.
const MIN_PARALLEL_PRODUCTS: usize = 1 << 18;

/// `softmax(q · kᵀ) · v`, where a query attends to the keys up to its own position. Scores are made
/// for eight queries at a time, forward and again backward, and kept nowhere; those of later keys
/// are not computed.
///
/// # Shapes
/// - `q`: `[batch, kv_heads, group · seq, dim_head]`, scaled; the output has the same shape. The
///   query in row `i` stands at position `start + i mod seq`.
/// - `k`, `v`: `[batch, kv_heads, start + seq, dim_head]`
///
/// With `bf16` operands of products are rounded to it, where the processor has such products.
pub(in crate::ops) fn causal_attention<B: Backend>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    seq: usize,
    start: usize,
    bf16: bool,
) -> Tensor<B, 4> {
    let [.., dim] = q.dims();
    compute::<B, _, 3, 4>(CausalAttention { seq, start, dim, bf16 }, [q, k, v].map(primitive))
}

#[derive(Debug, Clone)]
pub(crate) struct Saved {
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    /// Logarithm of the sum of a query's exponentials, `[batch, kv_heads, group · seq]`.
    log_sums: Vec<f32>,
}

impl DifferentiableOp<Flex, 3> for CausalAttention {
    type Saved = Saved;

    fn forward(&self, [q, k, v]: [FlexTensor; 3]) -> (FlexTensor, Saved) {
        let [heads, queries, keys, dim] = sizes(&q, &k);
        let mut out = zeros(heads * queries * dim);
        let mut log_sums = vec![0.0; heads * queries];
        let parts = values(&q).par_chunks_exact(queries * dim);
        let parts = parts.zip(values(&k).par_chunks_exact(keys * dim));
        let parts = parts.zip(values(&v).par_chunks_exact(keys * dim));
        let parts = parts.zip(out.par_chunks_exact_mut(queries * dim));
        parts
            .zip(log_sums.par_chunks_exact_mut(queries))
            .with_min_len(heads_per_task(&q, &k))
            .for_each(|((((q, k), v), out), log_sums)| self.forward([q, k, v], out, log_sums));
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
        let mut dq = zeros(heads * queries * dim);
        let [mut dk, mut dv] = [(); 2].map(|()| zeros(heads * keys * dim));
        let parts = values(&q).par_chunks_exact(queries * dim);
        let parts = parts.zip(values(&k).par_chunks_exact(keys * dim));
        let parts = parts.zip(values(&v).par_chunks_exact(keys * dim));
        let parts = parts.zip(values(&grad).par_chunks_exact(queries * dim));
        let parts = parts.zip(log_sums.par_chunks_exact(queries));
        let parts = parts.zip(dq.par_chunks_exact_mut(queries * dim));
        let parts = parts.zip(dk.par_chunks_exact_mut(keys * dim));
        parts
            .zip(dv.par_chunks_exact_mut(keys * dim))
            .with_min_len(heads_per_task(&q, &k))
            .for_each(|(((((((q, k), v), grad), log_sums), dq), dk), dv)| {
                self.backward([q, k, v], grad, log_sums, [dq, dk, dv]);
            });
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
fn heads_per_task(q: &FlexTensor, k: &FlexTensor) -> usize {
    let [_, queries, keys, dim] = sizes(q, k);
    MIN_PARALLEL_PRODUCTS.div_ceil((queries * keys * dim).max(1))
}
