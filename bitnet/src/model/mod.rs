//! The transformer: configuration, blocks, and the forward passes with and without a cache.

mod attention;
mod block;
mod cache;
mod config;
mod error;
mod feed_forward;
mod flops;
mod observer;
mod rope;
pub(crate) mod schema;
mod seeded;
mod sequences;
mod size;
mod transformer;

pub use attention::Attention;
pub use block::Block;
pub use cache::KvCache;
pub use config::{BitNetTransformerConfig, FeedForwardKind, NormPlacement};
pub use error::ModelError;
pub use feed_forward::FeedForward;
use observer::Observer;
pub use rope::RotaryEmbedding;
pub use transformer::BitNetTransformer;
