use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

use crate::ops::absmean::{binary_absmean, binary_paper, ternary_absmean};

/// How a [`BitLinear`](crate::BitLinear) quantises its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightQuant {
    /// b1.58: {−1, 0, 1} times the mean magnitude ([`ternary_absmean`]).
    #[default]
    Ternary,
    /// b1 as in the authors' later code (training tips, figure 5) ([`binary_absmean`]).
    Binary,
    /// b1 exactly as in the paper ([`binary_paper`]), with the paper's activation quantiser.
    BinaryPaper,
    /// Full precision: neither weights nor activations are quantised (the "twin" of a BitNet).
    None,
}

impl WeightQuant {
    /// Quantises a weight of shape `[d_input, d_output]`. In [`None`](Self::None) the codes are
    /// the weight itself and the scale is one.
    ///
    /// Without `group_size` there is one scale for the whole tensor. With it, input features fall
    /// into groups of that size: each (group, output) pair has its own scale; in
    /// [`BinaryPaper`](Self::BinaryPaper) each group has, over all outputs (b1, §2.3).
    ///
    /// # Panics
    /// If `group_size` does not divide `d_input`.
    pub fn quantize<B: Backend>(
        self,
        weight: Tensor<B, 2>,
        group_size: Option<usize>,
    ) -> QuantizedWeight<B> {
        let [d_input, d_output] = weight.dims();
        let size = group_size.unwrap_or(d_input);
        let grouped = weight.reshape([d_input / size, size, d_output]);
        let whole_group: &[usize] = &[1, 2];
        let dims = if group_size.is_some() { &[1] } else { whole_group };
        let (codes, scale) = match self {
            Self::Ternary => ternary_absmean(grouped, dims),
            Self::Binary => binary_absmean(grouped, dims),
            Self::BinaryPaper => binary_paper(grouped, whole_group),
            Self::None => {
                let one = Tensor::ones([1, 1, 1], &grouped.device());
                (grouped, one)
            }
        };
        QuantizedWeight { codes, scale }
    }
}

/// A quantised weight matrix: `value = codes · scale`.
#[derive(Debug, Clone)]
pub struct QuantizedWeight<B: Backend> {
    /// Integers, as floats: `[groups, group_size, d_output]` (one group when ungrouped).
    pub codes: Tensor<B, 3>,
    /// Scale γ: `[groups, 1, d_output]` for per-output groups, else `[groups, 1, 1]`.
    pub scale: Tensor<B, 3>,
}

impl<B: Backend> QuantizedWeight<B> {
    /// The effective weight `[d_input, d_output]` that the forward pass multiplies by.
    pub fn dequantize(self) -> Tensor<B, 2> {
        let [groups, size, d_output] = self.codes.dims();
        (self.codes * self.scale).reshape([groups * size, d_output])
    }
}
