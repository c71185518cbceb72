//! [`BitLinear`]: the 1-bit and 1.58-bit replacement of a linear layer.

mod config;
mod packed;
mod project;
mod spec;

pub use config::BitLinearConfig;
pub(crate) use project::project;

use burn::{
    module::{Module, Param},
    nn::Linear,
    tensor::{Tensor, TensorData, backend::Backend},
};

use self::{packed::PackedWeight, spec::QuantSpec};
use crate::{
    ops::quantized_linear::LinearInput,
    packed::TernaryWeights,
    precision::Precision,
    quant::{QuantizedWeight, WeightQuant},
};

/// A linear layer that trains full-precision *latent* weights and computes with their
/// quantisation:
///
/// ```text
/// y = quantise(norm(x)) · quantise(W) + bias
/// ```
///
/// Gradients pass the quantisers unchanged (straight-through), so `dX̂ = dY · W̃ᵀ` and
/// `dW = X̃ᵀ · dY`. Fields and shapes are those of Burn's [`Linear`], whose records load here.
#[derive(Module, Debug)]
pub struct BitLinear<B: Backend> {
    /// Latent weight `[d_input, d_output]`; in a packed layer, the effective one.
    pub weight: Param<Tensor<B, 2>>,
    /// Bias `[d_output]`, in full precision.
    pub bias: Option<Param<Tensor<B, 1>>>,
    #[module(skip)]
    spec: QuantSpec,
    #[module(skip)]
    precision: Precision,
    /// In the place of the latent weight, which then is a stand-in.
    #[module(skip)]
    packed: Option<PackedWeight>,
}

impl<B: Backend> BitLinear<B> {
    /// Takes over the weight and bias of a trained full-precision layer, with the quantisers of
    /// `config` (its sizes, bias and initialiser are taken from the layer instead).
    ///
    /// # Panics
    /// If `config.group_size` is zero or does not divide the layer's number of inputs.
    pub fn from_linear(linear: Linear<B>, config: &BitLinearConfig) -> Self {
        // Not `lazy_shape`, which is swapped for an unused layer of the transposed layout.
        let [d_input, d_output] = linear.weight.dims();
        let config = BitLinearConfig { d_input, d_output, ..config.clone() };
        config.assemble(linear.weight, linear.bias)
    }

    /// Sets how much of the quantisation counts, for schedules that begin in full precision: the
    /// forward pass then computes with `v + strength · (quantise(v) − v)` for weight and input.
    /// At 1, as a new layer has it, that is the quantisation alone; at 0 nothing is quantised.
    pub fn set_quant_strength(&mut self, strength: f64) {
        self.spec.strength = strength;
    }

    /// # Shapes
    /// - input: `[..., d_input]`
    /// - output: `[..., d_output]`
    pub fn forward<const D: usize>(&self, input: Tensor<B, D>) -> Tensor<B, D> {
        let mut shape = input.dims();
        let [d_input, d_output] = self.weight.lazy_shape().dims();
        let tokens = shape[..D - 1].iter().product();
        shape[D - 1] = d_output;

        let x = LinearInput::new(input.reshape([tokens, d_input]));
        project([self], x).joined().reshape(shape)
    }

    /// The weight that the forward pass multiplies by, `[d_input, d_output]`: at most three
    /// distinct values a scale in ternary mode. Carries the straight-through gradient.
    pub fn effective_weight(&self) -> Tensor<B, 2> {
        if let Some(packed) = &self.packed {
            return packed.quantized(&self.weight.lazy_device()).dequantize();
        }
        let QuantSpec { quant, group_size, .. } = self.spec;
        let weight = self.weight.val();
        if quant == WeightQuant::None {
            return weight;
        }
        self.spec.quantize(weight, |w| quant.quantize(w, group_size).dequantize())
    }

    /// Codes and scales of the weight, without gradient; `None` in full precision.
    ///
    /// This is what packing must store: quantising [`effective_weight`](Self::effective_weight)
    /// again would shrink the scale by the share of zeros.
    pub fn quantized_weight(&self) -> Option<QuantizedWeight<B>> {
        if let Some(packed) = &self.packed {
            return Some(packed.quantized(&self.weight.lazy_device()));
        }
        let QuantSpec { quant, group_size, .. } = self.spec;
        let weight = self.weight.val().detach().set_require_grad(false);
        (quant != WeightQuant::None).then(|| quant.quantize(weight, group_size))
    }

    /// The input after the norm, and its codes, for a look at what the quantiser makes of it;
    /// `None` where it is not quantised. In [`WeightQuant::BinaryPaper`] the scales are those of
    /// inference.
    ///
    /// # Shapes
    /// - `x`: `[tokens, d_input]`; both outputs have the same shape.
    pub fn input_codes(&self, x: Tensor<B, 2>) -> Option<(Tensor<B, 2>, Tensor<B, 2>)> {
        self.spec.input_codes(x)
    }

    /// Codes and scales of a ternary or binary weight, and the bias, as packing takes them; `None`
    /// in full precision.
    pub fn ternary_weights(&self) -> Option<TernaryWeights> {
        let QuantizedWeight { codes, scale } = self.quantized_weight()?;
        let [groups, size, outputs] = codes.dims();
        let values = |data: TensorData| data.iter::<f32>().collect::<Vec<_>>();
        Some(TernaryWeights {
            inputs: groups * size,
            outputs,
            codes: codes.into_data().iter::<f32>().map(|code| code as i8).collect(),
            scales: values(scale.into_data()),
            groups,
            bias: self.bias.as_ref().map(|bias| values(bias.val().into_data())),
        })
    }

    /// Holds the weight at two bits instead of 32; no effect in full precision.
    ///
    /// The forward pass computes the same but for rounding: on the CPU backends with the packed
    /// weights themselves, elsewhere with weights that are unpacked on the device each time. The
    /// latent weight is gone, so that the layer cannot be trained or stored any more. Quantisation
    /// counts in full from here on.
    pub fn pack(mut self) -> Self {
        self.pack_weight();
        self
    }

    /// As [`pack`](Self::pack), in place.
    pub(crate) fn pack_weight(&mut self) {
        if self.packed.is_none()
            && let Some(weights) = self.ternary_weights()
        {
            let packed = PackedWeight::new(weights);
            self.weight = packed.stand_in(self.weight.id, &self.weight.lazy_device());
            self.packed = Some(packed);
            self.spec.strength = 1.0;
        }
    }

    /// Whether the weight is packed.
    pub fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// Sets the precision of the product; new layers have f32.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// The mode of the weight quantiser.
    pub fn quant(&self) -> WeightQuant {
        self.spec.quant
    }
}
