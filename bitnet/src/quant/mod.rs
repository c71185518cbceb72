//! The papers' quantisers, as pure functions over tensors of any backend.
//!
//! ```text
//! ternary weights    s = 1 / mean|w|    u = clamp(round(w · s), −1, 1)       w̃ = u / s
//! int8 activations   s = 127 / max|x|   q = clamp(round(x · s), −128, 127)   x̃ = q / s
//! ```
//!
//! Every quantiser returns integer *codes* (held as floats) beside the scale that turns them back
//! into values, because packing needs the codes and training needs the values. Rounding is
//! half-to-even, as PyTorch's. With [`straight_through`] the gradient of any of them is the
//! identity.
//!
//! | quantiser | file |
//! |---|---|
//! | weights, b1.58: [`ternary_absmean`] | `ops/absmean.rs` |
//! | weights, training tips and b1: [`binary_absmean`], [`binary_paper`] | `ops/absmean.rs` |
//! | activations, b1.58: [`absmax_int8`] | `ops/absmax.rs` |
//! | activations, b1: [`absmax_paper`], [`absmax_paper_non_negative`] | `ops/absmax.rs` |
//! | their gradient: [`straight_through`] | `ops/straight_through.rs` |
//! | which of them a layer uses: [`WeightQuant`], [`ActivationQuant`] | `quant/weight.rs`, `quant/activation.rs` |
//!
//! They are operations, which a fused linear layer computes within its kernels; hence their files
//! are those of [`ops`](crate::ops).
//!
//! Sources: BitNet (arXiv 2310.11453), BitNet b1.58 (arXiv 2402.17764) and its "Training Tips,
//! Code and FAQ".

mod activation;
mod packed_codes;
mod weight;

pub use activation::ActivationQuant;
pub use packed_codes::PackedCodes;
pub use weight::{QuantizedWeight, WeightQuant};

pub use crate::{
    cpu::absmax::SCALE_EPS,
    ops::{
        absmax::{QuantizedActivation, absmax_int8, absmax_paper, absmax_paper_non_negative},
        absmean::{binary_absmean, binary_paper, ternary_absmean},
        straight_through::straight_through,
    },
};
