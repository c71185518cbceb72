use burn::tensor::{Tensor, backend::Backend};

use crate::{
    nn::norm::InnerNorm,
    ops::arguments::WeightQuantizer,
    quant::{
        ActivationQuant, QuantizedActivation, WeightQuant, absmax_int8, absmax_paper,
        absmax_paper_non_negative, straight_through,
    },
};

/// How a layer quantises: the part of its configuration that the forward pass needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct QuantSpec {
    pub(super) quant: WeightQuant,
    pub(super) activation: ActivationQuant,
    pub(super) norm: InnerNorm,
    pub(super) norm_eps: f64,
    pub(super) group_size: Option<usize>,
    pub(super) before_nonlinearity: bool,
    pub(super) strength: f64,
}

impl QuantSpec {
    /// The quantiser of the weight, if it has one scale, inputs are 8-bit codes with one scale a
    /// token, and both count in full: what [`quantized_linear`] computes.
    ///
    /// [`quantized_linear`]: crate::ops::quantized_linear::quantized_linear
    pub(super) fn quantizer(self) -> Option<WeightQuantizer> {
        match self.quant {
            _ if self.group_size.is_some() || !self.has_codes_of_tokens() => None,
            WeightQuant::Ternary => Some(WeightQuantizer::Ternary),
            WeightQuant::Binary => Some(WeightQuantizer::Binary),
            WeightQuant::BinaryPaper | WeightQuant::None => None,
        }
    }

    /// The norm of the input, `[tokens, d_input]`.
    pub(super) fn normalize<B: Backend>(self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.norm.apply(x, self.norm_eps)
    }

    /// Whether inputs are 8-bit codes with one scale per token.
    pub(super) fn has_codes_of_tokens(self) -> bool {
        let weights = matches!(self.quant, WeightQuant::Ternary | WeightQuant::Binary);
        weights && self.activation == ActivationQuant::Int8PerToken && self.strength == 1.0
    }

    /// Norm and input quantiser: `[tokens, d_input]` to the same shape.
    pub(super) fn quantize_input<B: Backend>(self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let QuantSpec { quant, activation, norm, norm_eps, group_size, .. } = self;
        match (quant, activation) {
            // b1 groups the activations, too, each with its own norm and range (§2.3).
            (WeightQuant::BinaryPaper, _) => {
                let [tokens, features] = x.dims();
                let size = group_size.unwrap_or(features);
                let x = norm.apply(x.reshape([tokens, features / size, size]), norm_eps);
                let x = match activation {
                    ActivationQuant::None => x,
                    _ => self.quantize_as_in_paper(x),
                };
                x.reshape([tokens, features])
            }
            (WeightQuant::None, _) | (_, ActivationQuant::None) => self.normalize(x),
            (_, ActivationQuant::Int8PerToken) => {
                self.quantize(self.normalize(x), |x| absmax_int8(x, &[1]).dequantize())
            }
            (_, ActivationQuant::Int8PerTensor) => {
                self.quantize(self.normalize(x), |x| absmax_int8(x, &[0, 1]).dequantize())
            }
        }
    }

    /// b1's activation quantiser over `[tokens, groups, features]`: per tensor in training, per
    /// token at inference (b1, §2.1).
    fn quantize_as_in_paper<B: Backend>(self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let training = B::ad_enabled(&x.device());
        let dims: &[usize] = if training { &[0, 2] } else { &[2] };
        self.quantize(x, |x| self.absmax_as_in_paper(x, dims).dequantize())
    }

    fn absmax_as_in_paper<B: Backend, const D: usize>(
        self,
        x: Tensor<B, D>,
        dims: &[usize],
    ) -> QuantizedActivation<B, D> {
        if self.before_nonlinearity {
            absmax_paper_non_negative(x, dims)
        } else {
            absmax_paper(x, dims)
        }
    }

    /// The normed input and its codes as at inference, `[tokens, d_input]` each; `None` where the
    /// input is not quantised.
    pub(super) fn input_codes<B: Backend>(
        self,
        x: Tensor<B, 2>,
    ) -> Option<(Tensor<B, 2>, Tensor<B, 2>)> {
        let QuantSpec { quant, activation, norm, norm_eps, group_size, .. } = self;
        let dims: &[usize] = match (quant, activation) {
            (WeightQuant::None, _) | (_, ActivationQuant::None) => return None,
            (WeightQuant::BinaryPaper, _) => {
                let [tokens, features] = x.dims();
                let size = group_size.unwrap_or(features);
                let x = norm.apply(x.reshape([tokens, features / size, size]), norm_eps);
                let codes = self.absmax_as_in_paper(x.clone(), &[2]).codes;
                let flat = |x: Tensor<B, 3>| x.reshape([tokens, features]);
                return Some((flat(x), flat(codes)));
            }
            (_, ActivationQuant::Int8PerToken) => &[1],
            (_, ActivationQuant::Int8PerTensor) => &[0, 1],
        };
        let x = norm.apply(x, norm_eps);
        let codes = absmax_int8(x.clone(), dims).codes;
        Some((x, codes))
    }

    /// A quantiser at this strength, with the straight-through gradient.
    pub(super) fn quantize<B: Backend, const D: usize>(
        self,
        x: Tensor<B, D>,
        quantizer: impl FnOnce(Tensor<B, D>) -> Tensor<B, D>,
    ) -> Tensor<B, D> {
        match self.strength {
            0.0 => x,
            1.0 => straight_through(x, quantizer),
            strength => straight_through(x, |x| {
                let error = quantizer(x.clone()) - x.clone();
                x + error.mul_scalar(strength)
            }),
        }
    }
}
