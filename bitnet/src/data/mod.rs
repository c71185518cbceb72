//! Text for training and evaluation: where it comes from, how it is split, and which windows of
//! it make a batch.

mod batches;
mod corpus;
mod windows;

pub use batches::{Batch, TrainBatches};
pub use corpus::{DataError, load, split};
pub use windows::{Window, windows};
