//! Text for training and evaluation: where it comes from, how it becomes tokens and is split, and
//! which windows of it make a batch.

mod batches;
mod chunks;
mod corpus;
mod dataset;
mod download;
mod error;
mod jsonl;
mod options;
mod parquet;
mod prepare;
mod split;
mod token_file;
mod tokens;
mod windows;

pub use batches::{Batch, TrainBatches};
pub use chunks::{Chunk, End};
pub use corpus::Corpus;
pub use dataset::{DATASETS, Dataset};
pub use error::DataError;
pub use options::DataOptions;
pub use split::Split;
pub use token_file::TokenFile;
pub use tokens::Tokens;
pub use windows::{Window, windows};
