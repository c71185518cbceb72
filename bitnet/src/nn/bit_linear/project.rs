//! Layers of one input.

use burn::tensor::{Tensor, backend::Backend};

use super::BitLinear;
use crate::{
    nn::norm::InnerNorm,
    ops::{
        Columns,
        matmul::matmul,
        quantized_linear::{LinearInput, quantized_linear},
    },
};

/// The outputs of layers of the same input, in their order; with a residual, of one layer.
///
/// # Shapes
/// - output: `[tokens, d_output]` for each
pub(crate) fn project<B: Backend, const N: usize>(
    layers: [&BitLinear<B>; N],
    input: LinearInput<B>,
) -> Columns<B> {
    let first = layers[0];
    let are_alike = layers.iter().all(|layer| {
        layer.spec == first.spec && layer.precision == first.precision && layer.packed.is_none()
    });
    let quantizer = first.spec.quantizer().filter(|_| are_alike);
    let has_bias = layers.iter().any(|layer| layer.bias.is_some());
    let Some(quantizer) = quantizer else { return one_by_one(layers, input) };
    if first.spec.norm == InnerNorm::None && !has_bias {
        let weights = layers.map(|layer| layer.weight.val()).into();
        return quantized_linear(quantizer, first.precision, input, weights);
    }
    let (x, residual) = input.prepare();
    let x = first.spec.normalize(x);
    let outputs = layers.map(|layer| {
        let (input, weights) = (LinearInput::new(x.clone()), vec![layer.weight.val()]);
        let y = quantized_linear(quantizer, layer.precision, input, weights).joined();
        layer.finish(y, residual.clone())
    });
    Columns::Apart(outputs.into())
}

/// Layers of any quantiser: what differs between them is computed for each.
fn one_by_one<B: Backend, const N: usize>(
    layers: [&BitLinear<B>; N],
    input: LinearInput<B>,
) -> Columns<B> {
    let (x, residual) = input.prepare();
    let first = layers[0].spec.quantize_input(x.clone());
    let outputs = layers.map(|layer| {
        let x = match layer.spec == layers[0].spec {
            true => first.clone(),
            false => layer.spec.quantize_input(x.clone()),
        };
        let packed = layer.packed.as_ref().filter(|_| layer.spec.has_codes_of_tokens());
        let y = packed
            .and_then(|packed| packed.product(&x))
            .unwrap_or_else(|| matmul(layer.precision, x, layer.effective_weight()));
        layer.finish(y, residual.clone())
    });
    Columns::Apart(outputs.into())
}

impl<B: Backend> BitLinear<B> {
    /// Adds the bias, and what else there is to add.
    fn finish(&self, y: Tensor<B, 2>, residual: Option<Tensor<B, 2>>) -> Tensor<B, 2> {
        let y = match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        };
        residual.into_iter().fold(y, |y, residual| residual + y)
    }
}
