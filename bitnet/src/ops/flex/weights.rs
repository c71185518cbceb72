//! Codes of weights with one scale.

use burn::tensor::{Tensor, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};

use super::tensor::{as_matrix, values};
use crate::{
    cpu::{
        absmean::{self, CodeRule},
        gemm::{int8, operands, word::Word},
        parallel::par_map,
        reduce::mean_magnitude,
    },
    ops::arguments::WeightQuantizer,
};

/// Codes that stay in the cache between the two steps that they go through.
const CODES_AT_ONCE: usize = 256;

/// Measures a weight as the composed quantiser does it, so that both give it the same codes.
fn measure(quantizer: WeightQuantizer, weight: &FlexTensor) -> CodeRule {
    let magnitude = mean_magnitude(values(weight));
    match quantizer {
        WeightQuantizer::Ternary => CodeRule::ternary(magnitude),
        WeightQuantizer::Binary => {
            let weight = TensorPrimitive::Float(weight.clone());
            let weight = Tensor::<Flex, 2>::from_primitive(weight).unsqueeze::<3>();
            CodeRule::binary(magnitude, weight.mean_dims(&[1, 2]).into_scalar())
        }
    }
}

/// Weights of the same inputs, side by side.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    weights: Vec<(FlexTensor, CodeRule)>,
    pub(super) d_input: usize,
}

impl Weights {
    pub(super) fn new(
        quantizer: WeightQuantizer,
        weights: impl Iterator<Item = FlexTensor>,
    ) -> Self {
        let weights: Vec<_> = weights.collect();
        let elements = weights.iter().map(|weight| values(weight).len()).sum();
        let weights = par_map(elements, weights, |_, weight| {
            let rule = measure(quantizer, &weight);
            (weight, rule)
        });
        let d_input = weights.first().map_or(0, |(weight, _)| as_matrix(weight).0);
        Self { weights, d_input }
    }

    /// Their numbers of outputs.
    pub(super) fn widths(&self) -> Vec<usize> {
        self.weights.iter().map(|(weight, _)| as_matrix(weight).1).collect()
    }

    /// The number of outputs of each, and its scale.
    pub(super) fn segments(&self) -> Vec<(usize, f32)> {
        let scales = self.weights.iter().map(|(_, rule)| rule.scale);
        self.widths().into_iter().zip(scales).collect()
    }

    /// The codes for the product of the forward pass.
    pub(super) fn pack(&self) -> int8::TernaryPanels {
        let weights: Vec<_> = self
            .weights
            .iter()
            .map(|(weight, rule)| (values(weight), as_matrix(weight).1, *rule))
            .collect();
        int8::TernaryPanels::pack(self.d_input, &weights)
    }

    /// The codes, transposed, for the gradient of the input.
    pub(super) fn transposed<W: Word>(&self) -> operands::Panels<W> {
        let weights: Vec<_> = self
            .weights
            .iter()
            .map(|(weight, rule)| {
                let write = |row: &[f32], to: &mut [W::Value]| {
                    let mut codes = [0.0; CODES_AT_ONCE];
                    for (row, to) in row.chunks(CODES_AT_ONCE).zip(to.chunks_mut(CODES_AT_ONCE)) {
                        absmean::encode(*rule, row, &mut codes);
                        W::round(&codes[..row.len()], 1.0, to);
                    }
                };
                (values(weight), as_matrix(weight).1, write)
            })
            .collect();
        operands::Panels::transposed(self.d_input, &weights)
    }
}
