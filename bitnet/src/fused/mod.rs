//! Operations of the model in one pass each, where tensors are plain memory.
//!
//! Layers are written with Burn's operations, which every backend has. On the CPU each of those
//! reads and writes whole tensors, and a quantised layer is a dozen of them. Here the ones that
//! cost most are written once more, forward and backward, over slices. A layer asks `applies`
//! and takes either way; users see neither bound nor type of it.
//!
//! What fuses is decided by the tensor's type: `Flex` and `Autodiff<Flex>` do, all other backends,
//! burn-ndarray among them, compute the composed operations and so serve as the reference.
//! [`set_enabled`] makes Flex one of them.

#[cfg(feature = "flex")]
mod adamw;
#[cfg(feature = "flex")]
mod attention;
#[cfg(feature = "flex")]
mod attention_core;
#[cfg(feature = "flex")]
mod bf16_gemm;
#[cfg(feature = "flex")]
mod bf16_linear;
#[cfg(feature = "flex")]
mod bf16_operands;
#[cfg(feature = "flex")]
mod coded_linear;
#[cfg(feature = "flex")]
mod coding;
#[cfg(feature = "flex")]
mod cross_entropy;
#[cfg(feature = "flex")]
mod fresh;
#[cfg(feature = "flex")]
mod gate;
#[cfg(feature = "flex")]
mod gradients;
#[cfg(feature = "flex")]
mod heads;
#[cfg(feature = "flex")]
mod int8_gemm;
#[cfg(feature = "flex")]
mod kernel;
#[cfg(feature = "flex")]
mod magnitude;
#[cfg(feature = "flex")]
mod rms_norm;
#[cfg(feature = "flex")]
mod rope;
#[cfg(feature = "flex")]
mod rows;
#[cfg(feature = "flex")]
mod self_attention;
#[cfg(feature = "flex")]
mod small_gemm;
#[cfg(feature = "flex")]
mod softmax;
#[cfg(feature = "flex")]
mod source;
#[cfg(feature = "flex")]
mod stripes;
#[cfg(not(feature = "flex"))]
mod without;

use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "flex")]
pub(crate) use self::{
    adamw::AdamWStep,
    attention::causal_attention,
    bf16_linear::bf16_linear,
    coded_linear::CodedLinears,
    coding::WeightCoding,
    cross_entropy::token_losses,
    gate::Gate,
    gradients::{scale, sum_of_squares},
    heads::swap_heads,
    kernel::applies,
    magnitude::mean_magnitude,
    rms_norm::rms_norm,
    rope::rotate,
    self_attention::SelfAttention,
};
#[cfg(not(feature = "flex"))]
pub(crate) use without::*;

static ENABLED: AtomicBool = AtomicBool::new(true);

/// Whether the fused operations may be used, which they may from the start. Without them Flex
/// computes what other backends do: slower, and equal within rounding.
///
/// A setting of the whole process: change it before the first forward pass.
pub fn set_enabled(enabled: bool) {
    ENABLED.store(enabled, Ordering::Relaxed);
}

/// The last value of [`set_enabled`].
pub fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}
