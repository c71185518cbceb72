//! [`BitLinear`]: the 1-bit and 1.58-bit replacement of a linear layer.

mod config;
mod packed;
mod spec;

pub use config::BitLinearConfig;

use burn::{
    module::{Initializer, Module, Param},
    nn::Linear,
    tensor::{Tensor, TensorData, backend::Backend},
};

use self::{packed::PackedWeight, spec::QuantSpec};
use crate::{
    nn::norm::InnerNorm,
    ops::{
        Columns,
        matmul::matmul,
        quantized_linear::{LinearInput, quantized_linear},
    },
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

impl BitLinearConfig {
    /// Creates the layer on `device`.
    ///
    /// # Panics
    /// If `group_size` is zero or does not divide `d_input`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> BitLinear<B> {
        let weight = self.initializer.init_with(
            [self.d_input, self.d_output],
            Some(self.d_input),
            Some(self.d_output),
            device,
        );
        let bias = self.bias.then(|| Initializer::Zeros.init([self.d_output], device));
        self.assemble(weight, bias)
    }

    /// The one place where a layer is put together, for new and for converted weights alike.
    fn assemble<B: Backend>(
        &self,
        weight: Param<Tensor<B, 2>>,
        bias: Option<Param<Tensor<B, 1>>>,
    ) -> BitLinear<B> {
        if let Some(size) = self.group_size {
            assert!(
                size > 0 && self.d_input.is_multiple_of(size),
                "group_size {size} does not divide the {} input features",
                self.d_input
            );
        }
        BitLinear {
            weight,
            bias,
            spec: QuantSpec {
                quant: self.quant,
                activation: self.activation,
                norm: self.norm,
                norm_eps: self.norm_eps,
                group_size: self.group_size,
                // Where it has no effect, layers that differ in nothing else are alike.
                before_nonlinearity: self.before_nonlinearity
                    && self.quant == WeightQuant::BinaryPaper,
                strength: 1.0,
            },
            precision: Precision::F32,
            packed: None,
        }
    }
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

    /// The input after the norm, and its codes, for statistics of the quantiser; `None` where it is
    /// not quantised. In [`WeightQuant::BinaryPaper`] the scales are those of inference.
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

    /// Adds the bias, and what else there is to add.
    fn finish(&self, y: Tensor<B, 2>, residual: Option<Tensor<B, 2>>) -> Tensor<B, 2> {
        let y = match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        };
        residual.into_iter().fold(y, |y, residual| residual + y)
    }
}

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
