//! Codes of weights with one scale, and of rows of activations.

use burn::tensor::{Tensor, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};

use super::tensor::{as_matrix, tensor, values};
use crate::{
    cpu::{
        absmax,
        absmean::{self, CodeRule},
        gemm::{
            bf16_operands,
            int8::{self, Codes},
        },
        parallel::{for_row_blocks, par_map},
        reduce::mean_magnitude,
        uninit::zeros,
    },
    ops::arguments::WeightQuantizer,
};

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
    pub(super) fn pack(&self) -> int8::Panels {
        let weights: Vec<_> = self
            .weights
            .iter()
            .map(|(weight, rule)| (values(weight), as_matrix(weight).1, *rule))
            .collect();
        int8::Panels::pack(self.d_input, &weights)
    }

    /// The codes, transposed, for products in bf16.
    pub(super) fn transposed(&self) -> bf16_operands::Panels {
        let weights: Vec<_> = self
            .weights
            .iter()
            .map(|(weight, rule)| {
                let write = |row: &[f32], to: &mut [u16]| absmean::encode_bf16(*rule, row, to);
                (values(weight), as_matrix(weight).1, write)
            })
            .collect();
        bf16_operands::Panels::transposed(self.d_input, &weights)
    }

    /// `w̃`, `[d_input, outputs of all]`.
    pub(super) fn dequantize(&self) -> FlexTensor {
        let columns: usize = self.widths().iter().sum();
        let mut all = zeros(self.d_input * columns);
        for_row_blocks(2 * all.len(), self.d_input, [(&mut all, columns)], |first, [all]| {
            for (i, row) in all.chunks_exact_mut(columns).enumerate() {
                let mut row = row;
                for (weight, rule) in &self.weights {
                    let (_, width) = as_matrix(weight);
                    let (to, others) = row.split_at_mut(width);
                    absmean::quantize(*rule, &values(weight)[(first + i) * width..], to);
                    row = others;
                }
            }
        });
        tensor(all, [self.d_input, columns])
    }
}

/// `x̃`.
pub(super) fn decode(x: &Codes, width: usize) -> FlexTensor {
    let rows = x.scales.len();
    let mut to = zeros(rows * width);
    for_row_blocks(2 * to.len(), rows, [(&mut to, width)], |first, [to]| {
        for (i, to) in to.chunks_exact_mut(width).enumerate() {
            let codes = &x.codes[(first + i) * x.stride..];
            let scale = x.scales[first + i];
            absmax::decode(codes, scale, to);
        }
    });
    tensor(to, [rows, width])
}
