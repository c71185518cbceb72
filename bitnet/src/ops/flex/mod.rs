//! The operations on Flex, whose tensors are plain memory: each forward and backward in one pass
//! over slices, by the arithmetic of [`cpu`](crate::cpu).

mod adamw;
mod causal_attention;
mod clip;
mod gated;
mod mean_magnitude;
mod output_head;
mod quantized_linear;
mod rms_norm;
mod rotate;
mod self_attention;
mod swap_heads;
mod tensor;
mod token_losses;
mod weights;

pub(super) use self::{
    adamw::adamw,
    causal_attention::causal_attention,
    clip::{scale, sum_of_squares},
    gated::gated,
    mean_magnitude::mean_magnitude,
    output_head::output_head,
    quantized_linear::quantized_linear,
    rms_norm::rms_norm,
    rotate::rotate,
    self_attention::self_attention,
    swap_heads::swap_heads,
    token_losses::token_losses,
};
