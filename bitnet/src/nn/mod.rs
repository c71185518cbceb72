//! Layers and the transformer of them: [`BitLinear`], norms, attention, feed-forward network,
//! block, and the forward passes with and without a KV cache.

mod attention;
mod bit_linear;
mod block;
mod config;
mod config_layers;
mod error;
mod feed_forward;
mod flops;
mod forward_sequences;
mod kv_cache;
mod norm;
mod observer;
mod rope;
pub(crate) mod schema;
mod seeded;
mod sequence_batch;
mod size;
mod transformer;
mod validate;

pub use attention::Attention;
pub use bit_linear::{BitLinear, BitLinearConfig};
pub use block::Block;
pub use config::{BitNetTransformerConfig, FeedForwardKind, NormPlacement};
pub use error::ModelError;
pub use feed_forward::FeedForward;
pub(crate) use kv_cache::INITIAL_CAPACITY;
pub use kv_cache::KvCache;
pub use norm::{InnerNorm, RmsNorm, layer_normalize, rms_normalize};
use observer::Observer;
pub use rope::RotaryEmbedding;
pub(crate) use sequence_batch::last_rows;
pub use sequence_batch::{SequenceBatch, SequenceCache};
pub use transformer::BitNetTransformer;
