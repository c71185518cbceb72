//! Packed weights and their products on the CPU.
//!
//! ```
//! use bitnet::packed::{Activations, TernaryMatrix, TernaryWeights};
//!
//! let weights = TernaryWeights {
//!     inputs: 2,
//!     outputs: 1,
//!     codes: vec![1, -1],
//!     scales: vec![0.5],
//!     groups: 1,
//!     bias: None,
//! };
//! let matrix = TernaryMatrix::pack(&[&weights]);
//! let mut x = Activations::new(2, 1);
//! x.quantize(&[1.0, 0.25]);
//! let mut y = [0.0];
//! matrix.multiply(&x, &mut y);
//! // 127 · 1 − 32 · 1, as 0.25 · 127 = 31.75 is rounded.
//! assert_eq!(y, [95.0 * (0.5 * (1.0 / 127.0))]);
//! ```
//!
//! A ternary weight takes two bits, an input eight; sums are exact integers, scaled by one
//! multiplication at the end (b1.58, and the "lossless" inference of arXiv 2410.16144). The same
//! numbers come out on every processor and with every number of threads.

mod activations;
mod array;
mod file;
mod kv;
mod table;
mod ternary;
#[cfg(test)]
mod tests;

pub use crate::cpu::isa::{ISA_VARIABLE, Isa, UnknownIsa};
pub(crate) use crate::cpu::kernels::QUERIES_PER_PASS;
pub use activations::Activations;
pub use file::FileError;
pub(crate) use file::{ArrayFile, is_one as is_array_file, write as write_arrays};
pub(crate) use kv::{Keys, Query, Values, attend};
pub use table::{EmbeddingTable, TableFormat};
pub(crate) use ternary::MatrixShape;
pub use ternary::{TernaryMatrix, TernaryWeights};
