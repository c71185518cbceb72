//! BitNet

#![warn(unreachable_pub)]
#![recursion_limit = "256"]

pub mod backend;
pub mod data;
pub mod evaluate;
pub mod generate;
mod linear;
pub mod loss;
pub mod model;
pub mod norm;
pub mod optim;
pub mod pretrained;
pub mod quant;
pub mod storage;
pub mod tokenizer;

pub use linear::{BitLinear, BitLinearConfig};
pub use model::{BitNetTransformer, BitNetTransformerConfig, ModelError};
