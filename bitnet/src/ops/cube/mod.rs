//! The operations of the model on NVIDIA's GPUs, by kernels of our own: in CubeCL, and in CUDA's
//! language for what that does not reach.
//!
//! Every sum has a fixed order, and there are no atomics: what is computed again has the same bits.

#![allow(unsafe_code, reason = "kernels are launched without bounds of their own")]
#![allow(clippy::too_many_arguments, reason = "kernels take their arguments one by one")]

mod adamw;
mod apply;
mod columns;
mod cuda;
mod embedding;
mod gate;
mod gradient;
mod gradients;
mod heads;
mod mean;
mod operand;
mod output_head;
mod product;
mod quantized_linear;
mod rms_norm;
mod rows;
mod self_attention;
mod softmax;
mod tensors;
mod token_losses;
mod units;
mod weights;

pub(super) use apply::{
    adamw, clip, embedding, is_on_gpu, mean, mean_magnitude, output_head, quantized_linear,
    rms_norm, self_attention, token_losses,
};
