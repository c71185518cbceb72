//! Quantised linears, with gate, norm and residual.

use burn::tensor::{Tensor, backend::Backend};

use super::compare::{CODE_TOLERANCE, Case, ROUNDING_TOLERANCE, check};
use crate::{
    ops::{
        Columns,
        arguments::WeightQuantizer,
        gated::Gate,
        quantized_linear::{self, LinearInput},
        rms_norm::Norm,
    },
    precision::Precision,
};

/// Weights of one input, with all that may stand before and after them.
#[derive(Clone, Copy)]
struct QuantizedLinear {
    quantizer: WeightQuantizer,
    tokens: usize,
    d_input: usize,
    d_outputs: &'static [usize],
    gate: Option<Gate>,
    norm: bool,
    residual: bool,
}

impl Case for QuantizedLinear {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        let Self { tokens, d_input, d_outputs, gate, norm, residual, .. } = *self;
        let sides = if gate.is_some() { 2 } else { 1 };
        let mut inputs = vec![([tokens, sides * d_input], 3.0)];
        inputs.extend(norm.then_some(([1, d_input], 1.0)));
        inputs.extend(residual.then_some(([tokens, d_outputs[0]], 1.0)));
        inputs.extend(d_outputs.iter().map(|&d_output| ([d_input, d_output], 0.1)));
        inputs
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("as many as there are");
        let x = next();
        let norm = self.norm.then(|| Norm { gains: next().squeeze_dim(0), eps: 1e-5 });
        let residual = self.residual.then(&mut next);
        let x = match self.gate {
            Some(gate) => LinearInput::gated(gate, Columns::Joined(x, vec![self.d_input; 2])),
            None => LinearInput::new(x),
        };
        let input = LinearInput { residual, ..x.with_norm(norm) };
        let weights = inputs.collect();
        quantized_linear::quantized_linear(self.quantizer, Precision::F32, input, weights).joined()
    }
}

pub(super) fn quantized_linear<I: Backend>() {
    let plain = QuantizedLinear {
        quantizer: WeightQuantizer::Ternary,
        tokens: 13,
        d_input: 37,
        d_outputs: &[51],
        gate: None,
        norm: false,
        residual: false,
    };
    let normed = QuantizedLinear { norm: true, ..plain };
    for (case, tolerance) in [
        (plain, ROUNDING_TOLERANCE),
        (QuantizedLinear { quantizer: WeightQuantizer::Binary, ..plain }, ROUNDING_TOLERANCE),
        (QuantizedLinear { tokens: 1, d_input: 1, d_outputs: &[1], ..plain }, ROUNDING_TOLERANCE),
        (QuantizedLinear { residual: true, ..plain }, ROUNDING_TOLERANCE),
        (QuantizedLinear { tokens: 230, d_input: 205, ..normed }, CODE_TOLERANCE),
        (QuantizedLinear { d_outputs: &[48, 16, 23], ..normed }, CODE_TOLERANCE),
        // Of no whole panels.
        (QuantizedLinear { d_outputs: &[5, 16, 23], ..normed }, CODE_TOLERANCE),
        (QuantizedLinear { gate: Some(Gate::Relu2), residual: true, ..normed }, CODE_TOLERANCE),
        (QuantizedLinear { gate: Some(Gate::Silu), residual: true, ..normed }, CODE_TOLERANCE),
    ] {
        check::<I>(&case, tolerance);
    }
}
