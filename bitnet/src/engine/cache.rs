use crate::model::BitNetTransformerConfig;

/// Tokens that a new cache has room for: more are made room for as they come.
const FIRST_CAPACITY: usize = 256;

/// Keys and values of the tokens of one sequence.
///
/// A clone of it goes on from the same tokens: of sequences that begin alike, the common part need
/// be read once only.
#[derive(Debug, Clone)]
pub struct Cache {
    blocks: Vec<BlockCache>,
    len: usize,
    /// Numbers a token in each of `keys` and `values`.
    width: usize,
}

/// Keys and values of one block, `[tokens, kv_heads, dim_head]`.
#[derive(Debug, Clone)]
pub(super) struct BlockCache {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

impl Cache {
    pub(super) fn new(config: &BitNetTransformerConfig) -> Self {
        let width = config.kv_heads * config.dim_head;
        let room = || Vec::with_capacity(FIRST_CAPACITY.min(config.max_seq_len) * width);
        let blocks =
            (0..config.depth).map(|_| BlockCache { keys: room(), values: room() }).collect();
        Self { blocks, len: 0, width }
    }

    /// Makes room for `tokens` in all, so that none has to be made before there are more.
    pub fn reserve(&mut self, tokens: usize) {
        let more = tokens.saturating_sub(self.len) * self.width;
        for block in &mut self.blocks {
            block.keys.reserve_exact(more);
            block.values.reserve_exact(more);
        }
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
        for block in &mut self.blocks {
            block.keys.truncate(self.len * self.width);
            block.values.truncate(self.len * self.width);
        }
    }

    pub(super) fn block(&self, index: usize) -> &BlockCache {
        &self.blocks[index]
    }

    pub(super) fn block_mut(&mut self, index: usize) -> &mut BlockCache {
        &mut self.blocks[index]
    }

    /// Counts tokens that all blocks have been given.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}
