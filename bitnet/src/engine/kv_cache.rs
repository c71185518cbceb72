use crate::{
    nn::{BitNetTransformerConfig, INITIAL_CAPACITY, SequenceCache},
    packed::{Keys, Values},
};

/// The format in which a [`KvCache`] holds keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheFormat {
    /// 32 bits.
    #[default]
    F32,
    /// 8 bits, one scale per token and head.
    Int8,
}

impl CacheFormat {
    /// The name, as it is given and printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }
}

/// KV cache of one sequence.
///
/// A clone of it goes on from the same tokens: of sequences that begin alike, the common part need
/// be read once only.
#[derive(Debug, Clone)]
pub struct KvCache {
    blocks: Vec<BlockCache>,
    len: usize,
}

/// Keys and values of one block, one row per token.
#[derive(Debug, Clone)]
pub(super) struct BlockCache {
    pub(super) keys: Keys,
    pub(super) values: Values,
}

impl KvCache {
    pub(super) fn new(config: &BitNetTransformerConfig, format: CacheFormat) -> Self {
        let &BitNetTransformerConfig { depth, kv_heads, dim_head, max_seq_len, .. } = config;
        let block = |_| match format {
            CacheFormat::F32 => BlockCache {
                keys: Keys::f32(kv_heads, dim_head),
                values: Values::f32(kv_heads, dim_head),
            },
            CacheFormat::Int8 => BlockCache {
                keys: Keys::int8(kv_heads, dim_head),
                values: Values::int8(kv_heads, dim_head),
            },
        };
        let blocks = (0..depth).map(block).collect();
        let mut cache = Self { blocks, len: 0 };
        cache.reserve(INITIAL_CAPACITY.min(max_seq_len));
        cache
    }

    /// Reserves memory for `tokens` tokens in all.
    pub fn reserve(&mut self, tokens: usize) {
        for block in &mut self.blocks {
            block.keys.reserve(tokens);
            block.values.reserve(tokens);
        }
    }

    /// Number of tokens held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of a token's keys and values, which every later token reads.
    pub fn token_bytes(&self) -> usize {
        // Keys take as many as values.
        self.blocks.iter().map(|block| 2 * block.values.row_bytes()).sum()
    }

    /// Whether no token is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets all tokens but the first `len`; no effect if fewer are held.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        for block in &mut self.blocks {
            block.keys.truncate(self.len);
            block.values.truncate(self.len);
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

impl SequenceCache for KvCache {
    fn len(&self) -> usize {
        self.len()
    }

    fn truncate(&mut self, len: usize) {
        self.truncate(len);
    }
}
