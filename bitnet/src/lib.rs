//! 1-bit and 1.58-bit transformers (BitNet) for [Burn](https://burn.dev), on any backend.
//!
//! ```
//! use bitnet::BitLinearConfig;
//! use burn::tensor::{Tensor, backend::Backend};
//!
//! fn ternary<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
//!     BitLinearConfig::new(64, 32).init(&x.device()).forward(x)
//! }
//!
//! let x = Tensor::<burn_flex::Flex, 2>::ones([10, 64], &Default::default());
//! assert_eq!(ternary(x).dims(), [10, 32]);
//! ```
//!
//! Examples here name `burn_flex::Flex`, since Burn's feature `flex` is off in this library; with it,
//! an app names the same type `burn::backend::Flex`.
//!
//! The modules:
//!
//! - `cpu`: arithmetic over slices; [`ops`]: the operations of the model, and what computes them.
//! - [`quant`]: the papers' quantisers and the straight-through estimator.
//! - [`nn`]: [`BitLinear`], a linear layer with latent weights, quantised in the forward pass; the
//!   decoder-only transformer of them, its configuration and its KV cache.
//! - [`packed`]: two-bit weights and their products on the CPU; [`engine`]: a transformer of them.
//! - [`data`], [`tokenizer`], [`loss`], [`optim`]: what training needs beside it; [`progress`] of
//!   the work on files.
//! - [`formats`]: files of tensors, those of other programs too.
//! - [`evaluate`], [`generate`], [`chat`], [`pretrained`]: what is done with a trained model;
//!   [`quant_stats`]: what its quantisation does.
//! - [`backend`]: from the names of a backend and a device to their types; [`precision`] of the
//!   matrix products; [`self_test`]: whether a device computes what the CPU does; [`speed`]: how
//!   fast it multiplies, and the CPU's kernels; [`memory`]: what the process holds.
//! - [`storage`]: files that are whole or not there; [`terminal`]: text without what a terminal obeys.
//!
//! The feature `text` has [`tokenizer`], [`chat`], [`generate`], [`pretrained`] and [`progress`], the
//! feature `data` those, [`data`] and [`evaluate`]; the rest needs neither.
//!
//! The library sets nothing for the whole process, except where a function says so
//! ([`backend::limit_threads`]): hooks, signal handlers and the environment are its program's.
//!
//! Everything that computes is generic over `B: Backend` and nothing else. Papers are cited by
//! key: **b1** is BitNet (arXiv 2310.11453), **b1.58** is arXiv 2402.17764, **training tips** is
//! its "Training Tips, Code and FAQ", **2B4T** is arXiv 2504.12285.

#![warn(unreachable_pub)]
#![recursion_limit = "256"]
#![cfg_attr(
    not(any(
        feature = "flex",
        feature = "ndarray",
        feature = "wgpu",
        feature = "tch",
        feature = "cuda"
    )),
    allow(
        dead_code,
        unused_imports,
        unused_variables,
        reason = "without a backend of ours nothing is chosen"
    )
)]
#![cfg_attr(
    not(feature = "text"),
    allow(
        dead_code,
        unused_imports,
        reason = "the names of tensors, and what writes them, are for model folders"
    )
)]

pub mod backend;
#[cfg(feature = "text")]
pub mod chat;
mod cpu;
#[cfg(feature = "data")]
pub mod data;
pub mod engine;
#[cfg(feature = "data")]
pub mod evaluate;
pub mod formats;
#[cfg(feature = "text")]
pub mod generate;
pub mod loss;
pub mod memory;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod packed;
mod panics;
pub mod precision;
#[cfg(feature = "text")]
pub mod pretrained;
#[cfg(feature = "text")]
pub mod progress;
pub mod quant;
pub mod quant_stats;
pub mod self_test;
pub mod speed;
pub mod storage;
pub mod terminal;
#[cfg(feature = "text")]
pub mod tokenizer;

pub use nn::{BitLinear, BitLinearConfig, BitNetTransformer, BitNetTransformerConfig, ModelError};
