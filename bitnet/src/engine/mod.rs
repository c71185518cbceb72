//! Inference on the CPU with packed weights: what [`BitNetTransformer`](crate::BitNetTransformer)
//! computes, within the rounding of 32 bits, with two bits a ternary weight.
//!
//! ```
//! use bitnet::{BitNetTransformerConfig, engine::Engine, packed::TableFormat};
//! # type B = burn_flex::Flex;
//!
//! let config = BitNetTransformerConfig::new(100, 32, 2).with_heads(4).with_dim_head(8);
//! let model = config.init::<B>(&Default::default())?;
//! let engine = Engine::new(&model, TableFormat::Int8)?;
//! let mut cache = engine.new_cache();
//! let logits = engine.forward_next(&mut [(&mut cache, &[1, 2, 3])])?;
//! assert_eq!((logits.len(), cache.len()), (100, 3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The products run on [`packed`](crate::packed)'s kernels; what lies between them is written out
//! here, so that no tensor is made: at one token, Burn's cost for each operation would be a good
//! part of the time. All of it is shared among the threads of rayon's pool.

mod attention;
mod build;
mod feed_forward;
mod file;
mod kv_cache;
mod norm;
mod pool;
mod rotary;
mod shapes;
mod workspace;

use std::ops::Range;

use rayon::prelude::*;
use thiserror::Error;

pub(crate) use build::WeightSource;
pub use kv_cache::{CacheFormat, KvCache};

use crate::{
    nn::{BitNetTransformerConfig, ModelError, SequenceBatch, last_rows},
    packed::{EmbeddingTable, FileError, TableFormat, TernaryMatrix},
};
use attention::Attention;
use feed_forward::FeedForward;
use norm::Norm;
use pool::in_pool;
use rotary::Rotary;
use workspace::Workspace;

/// Tokens that go through the blocks together: enough to be bound by arithmetic, and few enough for
/// what they leave between two products to stay small.
const TOKENS_PER_PASS: usize = 64;

/// A model that cannot be packed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Packed weights cannot represent these quantisers.
    #[error("the packed engine computes with {0}")]
    Unsupported(&'static str),
    /// The configuration is invalid.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of packed weights cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A transformer with packed weights.
#[derive(Debug, Clone)]
pub struct Engine {
    config: BitNetTransformerConfig,
    embedding: EmbeddingTable,
    blocks: Vec<Block>,
    norm: Norm,
    /// Where it is not the embedding.
    head: Option<EmbeddingTable>,
    rotary: Rotary,
    cache_format: CacheFormat,
}

/// One decoder block, as [`Block`](crate::nn::Block).
#[derive(Debug, Clone)]
struct Block {
    attention: Attention,
    feed_forward: FeedForward,
}

/// Memory of an engine, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Ternary weights at two bits, with their scales.
    pub ternary: usize,
    /// Embedding and output head.
    pub tables: usize,
    /// Gains of norms, in 32 bits.
    pub norms: usize,
    /// What generating one token reads of them all: of an embedding that is not the output head,
    /// one row.
    pub token: usize,
}

impl Engine {
    /// The configuration of the model.
    pub fn config(&self) -> &BitNetTransformerConfig {
        &self.config
    }

    /// The format of embedding and output head.
    pub fn table_format(&self) -> TableFormat {
        self.embedding.format()
    }

    /// Its memory.
    pub fn footprint(&self) -> Footprint {
        let matrices = self.blocks.iter().flat_map(|Block { attention, feed_forward }| {
            [&attention.qkv, &attention.output, &feed_forward.hidden, &feed_forward.down]
        });
        let ternary = matrices.map(TernaryMatrix::bytes).sum();
        let norms = self.norms().filter_map(Norm::array).map(<[u8]>::len).sum();
        let head = self.head.as_ref().unwrap_or(&self.embedding).bytes();
        let tables = self.embedding.bytes() + self.head.as_ref().map_or(0, EmbeddingTable::bytes);
        Footprint { ternary, tables, norms, token: ternary + norms + head }
    }

    fn norms(&self) -> impl Iterator<Item = &Norm> {
        let blocks = self.blocks.iter().flat_map(|Block { attention, feed_forward }| {
            attention.norms().into_iter().chain(feed_forward.norms())
        });
        blocks.chain([&self.norm])
    }

    /// Sets the format in which new caches hold keys and values. Default: 32 bits.
    pub fn with_cache_format(mut self, format: CacheFormat) -> Self {
        self.cache_format = format;
        self
    }

    /// An empty cache, for one sequence.
    pub fn new_cache(&self) -> KvCache {
        KvCache::new(&self.config, self.cache_format)
    }

    /// Logits of the next token at every new position of a batch, whose caches then hold the new
    /// tokens, too: `[all tokens, num_tokens]`, one sequence after the other.
    ///
    /// The sequences may be of any lengths; all are computed together. The numbers do not depend
    /// on what else is in the batch, on how a sequence is cut into calls, on the number of threads,
    /// or on the processor.
    ///
    /// # Errors
    /// [`ModelError::MaxSequenceLengthExceeded`] if a sequence would be longer than the model
    /// allows, [`ModelError::UnknownToken`] for a token that it does not have. No cache has
    /// changed then.
    pub fn forward(&self, batch: &mut SequenceBatch<'_, KvCache>) -> Result<Vec<f32>, ModelError> {
        let hidden = self.hidden(batch)?;
        Ok(in_pool(|| self.logits(&hidden)))
    }

    /// As [`forward`](Self::forward), but for the last token of each sequence alone:
    /// `[sequences, num_tokens]`. Sequences without a new token are left out.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_next(
        &self,
        batch: &mut SequenceBatch<'_, KvCache>,
    ) -> Result<Vec<f32>, ModelError> {
        let mut hidden = self.hidden(batch)?;
        let dim = self.config.dim;
        let last = last_rows(batch);
        for (to, from) in last.iter().enumerate() {
            hidden.copy_within(from * dim..(from + 1) * dim, to * dim);
        }
        hidden.truncate(last.len() * dim);
        Ok(in_pool(|| self.logits(&hidden)))
    }

    /// The residual stream after the last block, `[all tokens, dim]`.
    fn hidden(&self, batch: &mut SequenceBatch<'_, KvCache>) -> Result<Vec<f32>, ModelError> {
        self.config.check_batch(batch)?;
        Ok(in_pool(|| {
            let count = batch.iter().map(|(_, tokens)| tokens.len()).sum();
            let mut hidden = Vec::with_capacity(count * self.config.dim);
            for start in (0..count).step_by(TOKENS_PER_PASS) {
                hidden.extend(self.run_blocks(&mut slice(batch, start..start + TOKENS_PER_PASS)));
            }
            hidden
        }))
    }

    fn run_blocks(&self, batch: &mut SequenceBatch<'_, KvCache>) -> Vec<f32> {
        let dim = self.config.dim;
        let positions: Vec<usize> =
            batch.iter().flat_map(|(cache, tokens)| (cache.len()..).take(tokens.len())).collect();
        let mut x = vec![0.0; positions.len() * dim];
        let tokens = batch.iter().flat_map(|(_, tokens)| tokens.iter());
        for (&token, row) in tokens.zip(x.chunks_mut(dim)) {
            self.embedding.row(token as usize, row);
        }
        let rotations = self.rotary.at(&positions);
        let mut work = Workspace::new(&self.config, positions.len());
        for (index, block) in self.blocks.iter().enumerate() {
            block.attention.add(&mut x, batch, index, &rotations, &mut work);
            block.feed_forward.add(&mut x, &mut work);
        }
        for (cache, tokens) in batch.iter_mut() {
            cache.advance(tokens.len());
        }
        x
    }

    /// `[tokens, dim]` to `[tokens, num_tokens]`.
    fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        let dim = self.config.dim;
        let mut normed = vec![0.0; hidden.len()];
        normed.par_chunks_mut(dim).zip(hidden.par_chunks(dim)).for_each(|(out, x)| {
            out.copy_from_slice(x);
            self.norm.apply(out);
        });
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        let mut logits = vec![0.0; hidden.len() / dim * head.rows()];
        head.multiply(&normed, &mut logits);
        logits
    }
}

/// The part of a batch with the tokens of a range, counted over all sequences.
fn slice<'a>(
    batch: &'a mut SequenceBatch<'_, KvCache>,
    range: Range<usize>,
) -> Vec<(&'a mut KvCache, &'a [u32])> {
    let mut before = 0;
    let part = batch.iter_mut().map(|(cache, tokens)| {
        let [start, end] = [range.start, range.end]
            .map(|position| position.saturating_sub(before).min(tokens.len()));
        before += tokens.len();
        (&mut **cache, &tokens[start..end])
    });
    part.collect()
}
