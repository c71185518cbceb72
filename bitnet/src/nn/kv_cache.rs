use burn::tensor::{Tensor, backend::Backend};

use super::{BitNetTransformerConfig, ModelError, SequenceCache};

/// Tokens that a new cache has room for. It doubles as it fills: what a model could hold at most
/// may be far more than a machine can.
pub(crate) const INITIAL_CAPACITY: usize = 256;

/// KV cache: keys and values of the tokens read so far, so that each new token costs one forward of
/// length one. Made by [`BitNetTransformer::new_cache`](super::BitNetTransformer::new_cache).
#[derive(Debug, Clone)]
pub struct KvCache<B: Backend> {
    layers: Vec<LayerCache<B>>,
    batch: usize,
    len: usize,
}

impl<B: Backend> KvCache<B> {
    pub(super) fn new(config: &BitNetTransformerConfig, batch: usize, device: &B::Device) -> Self {
        let capacity = INITIAL_CAPACITY.min(config.max_seq_len);
        let empty = || Tensor::zeros([batch, config.kv_heads, capacity, config.dim_head], device);
        let layers =
            (0..config.depth).map(|_| LayerCache { keys: empty(), values: empty() }).collect();
        Self { layers, batch, len: 0 }
    }

    /// Number of tokens held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all tokens but the first `len`; no effect if fewer are held.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Checks that it was made for so many sequences.
    pub(super) fn check_batch_size(&self, actual: usize) -> Result<(), ModelError> {
        if actual != self.batch {
            return Err(ModelError::CacheBatchMismatch { cached: self.batch, actual });
        }
        Ok(())
    }

    pub(super) fn layer_mut(&mut self, index: usize) -> &mut LayerCache<B> {
        &mut self.layers[index]
    }

    pub(super) fn advance(&mut self, seq: usize) {
        self.len += seq;
    }
}

impl<B: Backend> SequenceCache for KvCache<B> {
    fn len(&self) -> usize {
        self.len()
    }

    fn truncate(&mut self, len: usize) {
        self.truncate(len);
    }
}

/// Keys and values of one layer, `[batch, kv_heads, capacity, dim_head]`.
#[derive(Debug, Clone)]
pub(super) struct LayerCache<B: Backend> {
    keys: Tensor<B, 4>,
    values: Tensor<B, 4>,
}

impl<B: Backend> LayerCache<B> {
    /// Writes keys and values at positions `start ..` and returns all up to and including them.
    pub(super) fn extend(
        &mut self,
        start: usize,
        keys: Tensor<B, 4>,
        values: Tensor<B, 4>,
    ) -> (Tensor<B, 4>, Tensor<B, 4>) {
        (write(&mut self.keys, start, keys), write(&mut self.values, start, values))
    }
}

fn write<B: Backend>(all: &mut Tensor<B, 4>, start: usize, new: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, heads, seq, dim_head] = new.dims();
    let end = start + seq;
    // Taken, not cloned: a unique tensor is written in place.
    let mut taken = std::mem::replace(all, Tensor::empty([1, 1, 1, 1], &new.device()));
    let capacity = taken.dims()[2];
    if end > capacity {
        let more = end.max(2 * capacity) - capacity;
        let room = Tensor::zeros([batch, heads, more, dim_head], &new.device());
        taken = Tensor::cat(vec![taken, room], 2);
    }
    *all = taken.slice_assign([0..batch, 0..heads, start..end, 0..dim_head], new);
    all.clone().narrow(2, 0, end)
}
