//! Layers of one input as one operation, where operations are fused.

use burn::tensor::{Tensor, backend::Backend};

use super::BitLinear;
use crate::{
    fused::{CodedLinears, Gate, WeightCoding},
    norm::{InnerNorm, RmsNorm},
};

/// Outputs of a layer that has others beside it are a multiple of this.
const LANES: usize = 16;

/// The input of quantised layers, before the norm that they share.
pub(crate) struct Joint<'a, B: Backend, const N: usize> {
    layers: [&'a BitLinear<B>; N],
    norm: &'a RmsNorm<B>,
    coding: WeightCoding,
}

impl<'a, B: Backend, const N: usize> Joint<'a, B, N> {
    /// Layers behind a norm, if they can be computed together: all are fused for inputs as `x`, in
    /// the same way, and without norm or bias of their own.
    pub(crate) fn new<const D: usize>(
        layers: [&'a BitLinear<B>; N],
        norm: Option<&'a RmsNorm<B>>,
        x: &Tensor<B, D>,
    ) -> Option<Self> {
        let first = layers[0];
        let coding = first.fused(x)?;
        let alike = layers.iter().all(|layer| {
            let [_, outputs] = layer.weight.lazy_shape().dims();
            layer.recipe == first.recipe
                && layer.precision == first.precision
                && layer.recipe.norm == InnerNorm::None
                && layer.packed.is_none()
                && layer.bias.is_none()
                && (N == 1 || outputs % LANES == 0)
        });
        alike.then_some(Self { layers, norm: norm?, coding })
    }

    fn operation(&self) -> CodedLinears {
        CodedLinears { norm: Some(self.norm.eps()), ..self.layers[0].coded(self.coding) }
    }

    fn gains(&self) -> Tensor<B, 2> {
        self.norm.weight.val().unsqueeze()
    }
}

impl<B: Backend> Joint<'_, B, 1> {
    /// `residual + layer(norm(x))`, or `residual + layer(norm(gate(x)))`.
    ///
    /// # Shapes
    /// - `x`: `[tokens, d_input]`, or with a gate, which its rows begin with, `[tokens, 2 · d_input]`
    /// - `residual`: `[tokens, d_output]`; the output has the same shape.
    pub(crate) fn add_to(
        &self,
        residual: Tensor<B, 2>,
        x: Tensor<B, 2>,
        gate: Option<Gate>,
    ) -> Tensor<B, 2> {
        let [layer] = self.layers;
        let operation = CodedLinears { gate, residual: true, ..self.operation() };
        operation.apply([x, self.gains(), residual, layer.weight.val()])
    }
}

impl<B: Backend> Joint<'_, B, 2> {
    /// `[layer₁(norm(x)) | layer₂(norm(x))]`.
    ///
    /// # Shapes
    /// - `x`: `[tokens, d_input]`
    /// - output: `[tokens, outputs of both]`
    pub(crate) fn apply(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let [a, b] = self.layers.map(|layer| layer.weight.val());
        self.operation().apply([x, self.gains(), a, b])
    }
}

impl<B: Backend> Joint<'_, B, 3> {
    /// As for two layers.
    pub(crate) fn apply(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let [a, b, c] = self.layers.map(|layer| layer.weight.val());
        self.operation().apply([x, self.gains(), a, b, c])
    }
}
