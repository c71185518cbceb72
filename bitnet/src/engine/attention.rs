use rayon::prelude::*;

use super::{
    kv_cache::{BlockCache, KvCache},
    norm::Norm,
    rotary::Rotations,
    workspace::{Workspace, add_to},
};
use crate::{
    nn::SequenceBatch,
    packed::{QUERIES_PER_PASS, Query, TernaryMatrix, attend},
};

/// Causal self-attention, as [`Attention`](crate::nn::Attention).
#[derive(Debug, Clone)]
pub(super) struct Attention {
    pub(super) norm: Norm,
    /// Queries, keys and values in one product.
    pub(super) qkv: TernaryMatrix,
    pub(super) query_norm: Norm,
    pub(super) key_norm: Norm,
    pub(super) sub_norm: Norm,
    pub(super) output: TernaryMatrix,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) dim_head: usize,
}

impl Attention {
    pub(super) fn norms(&self) -> [&Norm; 4] {
        [&self.norm, &self.query_norm, &self.key_norm, &self.sub_norm]
    }

    /// Its arrays, as a file holds them.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &[u8]> {
        let of_heads = self.query_norm.array().into_iter().chain(self.key_norm.array());
        let before = self.norm.array().into_iter().chain(self.qkv.arrays());
        before.chain(of_heads).chain(self.sub_norm.array()).chain(self.output.arrays())
    }

    /// Adds the attention of block `index` to the residual stream.
    ///
    /// # Shapes
    /// - `x`: `[all tokens, dim]`
    pub(super) fn add(
        &self,
        x: &mut [f32],
        batch: &mut SequenceBatch<'_, KvCache>,
        index: usize,
        rotations: &Rotations,
        work: &mut Workspace,
    ) {
        let Workspace { into_block, from_heads, projected, attended, .. } = work;
        let dim = self.qkv.inputs();
        let tokens = x.len() / dim;
        into_block.quantize_with(tokens, |token, row| {
            row.copy_from_slice(&x[token * dim..][..dim]);
            self.norm.apply(row);
        });
        let qkv = Workspace::projected(projected, tokens * self.qkv.outputs());
        self.qkv.multiply(into_block, qkv);
        self.rotate(qkv, rotations);
        self.extend_caches(qkv, batch, index);
        self.attend(qkv, batch, index, attended);

        let width = self.output.inputs();
        from_heads.quantize_with(tokens, |token, row| {
            row.copy_from_slice(&attended[token * width..][..width]);
            self.sub_norm.apply(row);
        });
        let out = Workspace::projected(projected, x.len());
        self.output.multiply(from_heads, out);
        add_to(x, out);
    }

    /// Norms of heads, and rotations.
    fn rotate(&self, qkv: &mut [f32], rotations: &Rotations) {
        let rows = qkv.par_chunks_mut(self.qkv.outputs()).enumerate().with_min_len(4);
        rows.for_each(|(row, qkv)| {
            let (queries, rest) = qkv.split_at_mut(self.heads * self.dim_head);
            for head in queries.chunks_mut(self.dim_head) {
                self.query_norm.apply(head);
                rotations.rotate_query(row, head);
            }
            for head in rest.chunks_mut(self.dim_head).take(self.kv_heads) {
                self.key_norm.apply(head);
                rotations.rotate_key(row, head);
            }
        });
    }

    /// Appends keys and values to the caches.
    fn extend_caches(&self, qkv: &[f32], batch: &mut SequenceBatch<'_, KvCache>, index: usize) {
        let width = self.kv_heads * self.dim_head;
        let mut rows = qkv.chunks(self.qkv.outputs());
        for (cache, tokens) in batch {
            let cache = cache.block_mut(index);
            for row in rows.by_ref().take(tokens.len()) {
                let (keys, values) = row[self.heads * self.dim_head..].split_at(width);
                cache.keys.push(keys);
                cache.values.push(values);
            }
        }
    }

    /// Each query's weighted sum of the values up to its position: `[all tokens, heads ·
    /// dim_head]`.
    fn attend(
        &self,
        qkv: &[f32],
        batch: &SequenceBatch<'_, KvCache>,
        index: usize,
        attended: &mut [f32],
    ) {
        let Self { heads, kv_heads, dim_head, .. } = *self;
        let group = heads / kv_heads;
        // Tokens whose queries fill a pass over the keys together.
        let together = (QUERIES_PER_PASS / group).max(1);
        let mut rows = qkv.chunks(self.qkv.outputs()).zip(attended.chunks_mut(heads * dim_head));
        let mut tasks = Vec::new();
        for (cache, tokens) in batch {
            let mut seen = cache.len();
            for tokens in tokens.chunks(together) {
                let first = tasks.len();
                let room = tokens.len() * group;
                tasks.extend((0..kv_heads).map(|head| Task {
                    cache: cache.block(index),
                    head,
                    queries: Vec::with_capacity(room),
                }));
                for (qkv, out) in rows.by_ref().take(tokens.len()) {
                    seen += 1;
                    let queries = qkv.chunks(dim_head).zip(out.chunks_mut(dim_head));
                    for (head, (query, out)) in queries.enumerate() {
                        tasks[first + head / group].queries.push((query, seen, out));
                    }
                }
            }
        }
        tasks.into_par_iter().for_each_init(Vec::new, |scores, mut task| {
            let BlockCache { keys, values } = task.cache;
            attend(&mut task.queries, (keys, values), task.head, scores);
        });
    }
}

/// Queries that attend to one head of keys.
struct Task<'a> {
    cache: &'a BlockCache,
    head: usize,
    queries: Vec<Query<'a>>,
}
