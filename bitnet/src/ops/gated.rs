//! The gate of a feed-forward network: `f(gate) · up`, with `f` the square of ReLU (2B4T) or SiLU
//! (LLaMA, b1.58).

use burn::tensor::{
    Tensor,
    activation::{relu, silu},
    backend::Backend,
};

#[cfg(feature = "flex")]
use super::{flex, is_on};
pub(crate) use crate::cpu::gate::Gate;

/// `f(gate) · up`.
///
/// # Shapes
/// - `gate`, `up`: `[tokens, features]`; the output has the same shape.
pub(crate) fn gated<B: Backend>(kind: Gate, gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
    #[cfg(feature = "flex")]
    if is_on::<burn_flex::Flex, _, _>(&gate) {
        return flex::gated(kind, gate, up);
    }
    match kind {
        Gate::Relu2 => relu(gate).square() * up,
        Gate::Silu => silu(gate) * up,
    }
}
