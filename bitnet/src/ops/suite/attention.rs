//! Self-attention, in one operation and part by part as with a KV cache.

use burn::tensor::{Tensor, TensorData, backend::Backend};

use super::compare::{Case, ROUNDING_TOLERANCE, check};
use crate::{
    ops::{
        Columns,
        causal_attention::causal_attention,
        rms_norm::Norm,
        rotate::{Positions, Rotation},
        self_attention::SelfAttention,
    },
    precision::Precision,
};

/// Positions of heads of queries and of keys.
fn positions<B: Backend>(
    [heads, kv_heads]: [usize; 2],
    dim: usize,
    [start, seq]: [usize; 2],
) -> Positions<B> {
    let half = dim / 2;
    let device = Default::default();
    let angle = |position: usize, feature: usize| {
        (start + position) as f32 * 0.3_f32.powi((feature % half) as i32)
    };
    let table = |heads: usize, factor: f32, f: fn(f32) -> f32| {
        let values: Vec<f32> = (0..seq)
            .flat_map(|position| (0..heads * dim).map(move |i| (position, i % dim)))
            .map(|(position, feature)| factor * f(angle(position, feature)))
            .collect();
        values
    };
    let mut swap = vec![0.0; dim * dim];
    for i in 0..half {
        swap[(i + half) * dim + i] = -1.0;
        swap[i * dim + i + half] = 1.0;
    }
    let matrix = |values: Vec<f32>, rows: usize| {
        let columns = values.len() / rows;
        Tensor::from_data(TensorData::new(values, [rows, columns]), &device)
    };
    let rotation = |heads, factor| Rotation {
        cos: matrix(table(heads, factor, f32::cos), 1),
        sin: matrix(table(heads, factor, f32::sin), 1),
        swap: matrix(swap.clone(), dim),
    };
    Positions {
        start,
        angles: [matrix(table(1, 1.0, f32::cos), seq), matrix(table(1, 1.0, f32::sin), seq)],
        queries: rotation(heads, (dim as f32).sqrt().recip()),
        keys: rotation(kv_heads, 1.0),
    }
}

/// The whole of it, or part by part as with a KV cache.
#[derive(Clone, Copy)]
struct Attention {
    batch: usize,
    seq: usize,
    heads: [usize; 2],
    dim: usize,
    norms: bool,
    in_parts: bool,
}

impl Case for Attention {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        let Self { batch, seq, heads: [heads, kv_heads], dim, norms, .. } = *self;
        let mut inputs = vec![([batch * seq, (heads + 2 * kv_heads) * dim], 2.0)];
        inputs.extend([([1, dim], 1.0); 2].into_iter().filter(|_| norms));
        inputs
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let Self { seq, heads, dim, in_parts, .. } = *self;
        let mut inputs = inputs.into_iter();
        let qkv = inputs.next().expect("the first of them");
        let norms: Vec<_> =
            inputs.map(|gains| Norm { gains: gains.squeeze_dim(0), eps: 1e-5 }).collect();
        let [of_queries, of_keys] = heads;
        let attention = SelfAttention {
            heads: of_queries,
            kv_heads: of_keys,
            dim,
            norms: norms.try_into().ok(),
            precision: Precision::F32,
        };
        let widths = vec![of_queries * dim, of_keys * dim, of_keys * dim];
        let (qkv, positions) = (Columns::Joined(qkv, widths), positions(heads, dim, [0, seq]));
        match in_parts {
            true => attention.apply_with(qkv, seq, &positions, |k, v| (k, v)),
            false => attention.apply(qkv, seq, &positions),
        }
    }
}

pub(super) fn self_attention<I: Backend>() {
    let plain =
        Attention { batch: 2, seq: 19, heads: [4, 2], dim: 8, norms: false, in_parts: false };
    for case in [
        plain,
        Attention { norms: true, ..plain },
        Attention { heads: [3, 3], dim: 40, ..plain },
        Attention { seq: 1, ..plain },
    ] {
        check::<I>(&case, ROUNDING_TOLERANCE);
        check::<I>(&Attention { in_parts: true, ..case }, ROUNDING_TOLERANCE);
    }
}

/// New queries at the end of a longer sequence.
struct Continued {
    heads: usize,
    group: usize,
    seq: usize,
    start: usize,
    dim: usize,
}

impl Case for Continued {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        let Self { heads, group, seq, start, dim } = *self;
        let keys = ([heads * (start + seq), dim], 1.0);
        vec![([heads * group * seq, dim], 0.5), keys, keys]
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let Self { heads, group, seq, start, dim } = *self;
        let [q, k, v] = inputs.try_into().expect("three");
        let q = q.reshape([1, heads, group * seq, dim]);
        let [k, v] = [k, v].map(|x| x.reshape([1, heads, start + seq, dim]));
        let y = causal_attention(Precision::F32, [q, k, v], seq, start);
        y.reshape([heads * group * seq, dim])
    }
}

pub(super) fn attention_to_cached_keys<I: Backend>() {
    for (seq, start) in [(1, 0), (1, 30), (17, 5)] {
        check::<I>(&Continued { heads: 2, group: 3, seq, start, dim: 12 }, ROUNDING_TOLERANCE);
    }
}
