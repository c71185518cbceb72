//! Linear layers of weights with one scale each (b1, b1.58): gate, norm, 8-bit absmax codes of each
//! token, absmean codes of the weights, their product, and a residual:
//!
//! ```text
//! y = residual + quantise(norm(gate(x))) · [w̃₁ | w̃₂ | …]
//! ```
//!
//! Gradients pass the quantisers unchanged (straight-through), so that those of their results are
//! `dy · w̃ᵀ` and `x̃ᵀ · dy`.

use burn::tensor::{Tensor, backend::Backend};

pub(crate) use super::arguments::LinearInput;
#[cfg(feature = "cuda")]
use super::cube;
use super::{
    Columns, absmax::absmax_int8, arguments::WeightQuantizer, gated::gated, matmul::matmul,
    straight_through::straight_through,
};
#[cfg(feature = "flex")]
use super::{flex, is_on};
use crate::precision::Precision;

impl<B: Backend> LinearInput<B> {
    /// `norm(gate(x))`, `[tokens, d_input]`, and the residual.
    pub(crate) fn prepare(self) -> (Tensor<B, 2>, Option<Tensor<B, 2>>) {
        let Self { x, gate, norm, residual } = self;
        let x = match gate {
            Some(kind) => {
                let [gate, up] = x.apart().try_into().expect("two sides of a gate");
                gated(kind, gate, up)
            }
            None => x.joined(),
        };
        (norm.into_iter().fold(x, |x, norm| norm.apply(x)), residual)
    }
}

/// The outputs of layers of the same input; with a residual, of one layer.
///
/// # Shapes
/// - `weights`: latent, `[d_input, d_output]` each
/// - output: `[tokens, d_output]` for each
pub(crate) fn quantized_linear<B: Backend>(
    quantizer: WeightQuantizer,
    precision: Precision,
    input: LinearInput<B>,
    weights: Vec<Tensor<B, 2>>,
) -> Columns<B> {
    #[cfg(feature = "flex")]
    if is_on::<burn_flex::Flex, _, _>(&weights[0]) {
        return flex::quantized_linear(quantizer, precision, input, weights);
    }
    #[cfg(feature = "cuda")]
    if cube::is_on_gpu(&weights[0]) {
        return cube::quantized_linear(quantizer, precision, input, weights);
    }
    let (x, residual) = input.prepare();
    let x = straight_through(x, |x| absmax_int8(x, &[1]).dequantize());
    let product = |weight| {
        let weight = straight_through(weight, |weight| quantizer.dequantized(weight));
        let y = matmul(precision, x.clone(), weight);
        residual.iter().fold(y, |y, residual| residual.clone() + y)
    };
    Columns::Apart(weights.into_iter().map(product).collect())
}
