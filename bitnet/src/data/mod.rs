//! Text for training and evaluation: where it comes from, how it becomes tokens and is split, and
//! which windows of it make a batch.

use std::{fs::File, path::Path};

mod batches;
mod chunks;
mod compression;
mod corpus;
mod dataset;
mod download;
mod error;
mod json;
mod json_text;
mod jsonl;
mod kind;
mod magic;
mod options;
mod parquet;
mod part;
mod prepare;
mod reading;
mod records;
mod source;
mod split;
mod tally;
mod token_file;
mod tokens;
mod utf16;
mod walk;
mod windows;

pub use batches::{Batch, TrainBatches};
pub use chunks::{Chunk, End};
pub use corpus::Corpus;
pub use dataset::{DATASETS, Dataset};
pub use error::DataError;
pub use options::DataOptions;
pub use source::absolute;
pub use split::Split;
pub use token_file::TokenFile;
pub use tokens::Tokens;
pub use windows::{Window, windows};

use crate::storage::open_input;

/// Opens a file that is read for its text.
fn open(path: &Path) -> Result<File, DataError> {
    open_input(path).map_err(|error| DataError::Read { path: path.into(), error })
}
