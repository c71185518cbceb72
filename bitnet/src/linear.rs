//! [`BitLinear`]: the 1-bit and 1.58-bit replacement of a linear layer.

mod packed;

use burn::{
    module::{Initializer, Module, Param},
    nn::Linear,
    tensor::{Tensor, TensorData, backend::Backend},
};

use packed::PackedWeight;

use crate::{
    fused::{self, WeightCoding},
    norm::InnerNorm,
    packed::TernaryWeights,
    precision::Precision,
    quant::{
        ActivationQuant, QuantizedActivation, QuantizedWeight, WeightQuant, absmax_int8,
        absmax_paper, absmax_paper_non_negative, straight_through,
    },
};

/// Configuration of a [`BitLinear`].
///
/// ```
/// use bitnet::{BitLinearConfig, quant::WeightQuant};
/// use burn::tensor::Tensor;
/// # type B = burn_flex::Flex;
///
/// let device = Default::default();
/// let layer = BitLinearConfig::new(64, 32).with_quant(WeightQuant::Ternary).init::<B>(&device);
/// let y = layer.forward(Tensor::<B, 3>::ones([2, 5, 64], &device));
/// assert_eq!(y.dims(), [2, 5, 32]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BitLinearConfig {
    /// Number of input features.
    pub d_input: usize,
    /// Number of output features.
    pub d_output: usize,
    /// Whether a bias is added to the output. Default: no.
    pub bias: bool,
    /// The weight quantiser. Default: ternary.
    pub quant: WeightQuant,
    /// The input quantiser. Default: 8 bits a token. In [`WeightQuant::BinaryPaper`] any 8-bit
    /// choice means the paper's own quantiser, in [`WeightQuant::None`] nothing is quantised.
    pub activation: ActivationQuant,
    /// The norm before the input quantiser. Default: none.
    pub norm: InnerNorm,
    /// ε of that norm. Default: 1e-5.
    pub norm_eps: f64,
    /// Input features that share a weight scale; `None` (default): one scale for the tensor.
    pub group_size: Option<usize>,
    /// The output feeds a non-linearity: [`WeightQuant::BinaryPaper`] then uses b1's [0, Q_b]
    /// activation range. No effect in other modes. Default: no.
    pub before_nonlinearity: bool,
    /// How the latent weight starts. Default: normal, standard deviation 0.02.
    pub initializer: Initializer,
}

impl BitLinearConfig {
    /// A ternary layer with int8 activations, no norm and no bias.
    pub fn new(d_input: usize, d_output: usize) -> Self {
        Self {
            d_input,
            d_output,
            bias: false,
            quant: WeightQuant::Ternary,
            activation: ActivationQuant::Int8PerToken,
            norm: InnerNorm::None,
            norm_eps: 1e-5,
            group_size: None,
            before_nonlinearity: false,
            initializer: Initializer::Normal { mean: 0.0, std: 0.02 },
        }
    }

    /// Sets the weight quantiser.
    pub fn with_quant(mut self, quant: WeightQuant) -> Self {
        self.quant = quant;
        self
    }

    /// Sets the input quantiser.
    pub fn with_activation(mut self, activation: ActivationQuant) -> Self {
        self.activation = activation;
        self
    }

    /// Sets the norm inside the layer.
    pub fn with_norm(mut self, norm: InnerNorm) -> Self {
        self.norm = norm;
        self
    }

    /// Sets ε of the norm inside the layer.
    pub fn with_norm_eps(mut self, norm_eps: f64) -> Self {
        self.norm_eps = norm_eps;
        self
    }

    /// Adds a bias (starting at zero) or not.
    pub fn with_bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Sets the number of input features that share a weight scale.
    pub fn with_group_size(mut self, group_size: Option<usize>) -> Self {
        self.group_size = group_size;
        self
    }

    /// Declares that the output feeds a non-linearity.
    pub fn with_before_nonlinearity(mut self, before_nonlinearity: bool) -> Self {
        self.before_nonlinearity = before_nonlinearity;
        self
    }

    /// Sets the initialiser of the latent weight.
    pub fn with_initializer(mut self, initializer: Initializer) -> Self {
        self.initializer = initializer;
        self
    }

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
            recipe: Recipe {
                quant: self.quant,
                activation: self.activation,
                norm: self.norm,
                norm_eps: self.norm_eps,
                group_size: self.group_size,
                before_nonlinearity: self.before_nonlinearity,
                strength: 1.0,
            },
            precision: Precision::F32,
            packed: None,
        }
    }
}

/// The part of the configuration that the forward pass needs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Recipe {
    quant: WeightQuant,
    activation: ActivationQuant,
    norm: InnerNorm,
    norm_eps: f64,
    group_size: Option<usize>,
    before_nonlinearity: bool,
    strength: f64,
}

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
    recipe: Recipe,
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
        self.recipe.strength = strength;
    }

    /// # Shapes
    /// - input: `[..., d_input]`
    /// - output: `[..., d_output]`
    pub fn forward<const D: usize>(&self, input: Tensor<B, D>) -> Tensor<B, D> {
        let mut shape = input.dims();
        let [d_input, d_output] = self.weight.lazy_shape().dims();
        let tokens = shape[..D - 1].iter().product();
        shape[D - 1] = d_output;

        let x = self.quantize_input(input.reshape([tokens, d_input]));
        self.product(x).reshape(shape)
    }

    /// The first half of the forward pass: norm, and input quantiser unless it is part of the
    /// product.
    ///
    /// # Shapes
    /// - `x`: `[tokens, d_input]`; the output has the same shape.
    pub(crate) fn quantize_input(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match self.fused(&x) {
            Some(_) => self.recipe.normalize_input(x),
            None => self.recipe.quantize_input(x),
        }
    }

    /// How weights are coded, if input quantiser and product are one operation here.
    fn fused<const D: usize>(&self, x: &Tensor<B, D>) -> Option<WeightCoding> {
        let Recipe { activation, group_size, strength, .. } = self.recipe;
        let simple = self.packed.is_none()
            && activation == ActivationQuant::Int8PerToken
            && group_size.is_none()
            && strength == 1.0
            && self.precision == Precision::F32;
        match self.recipe.quant {
            WeightQuant::Ternary if simple && fused::applies(x) => Some(WeightCoding::Ternary),
            WeightQuant::Binary if simple && fused::applies(x) => Some(WeightCoding::Binary),
            _ => None,
        }
    }

    /// As [`quantize_input`](Self::quantize_input), given what it made of the same `x` in a
    /// sibling layer: if both quantise alike, the work is done.
    pub(crate) fn share_input(
        &self,
        sibling: &Self,
        x: &Tensor<B, 2>,
        quantized: &Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        if self.recipe == sibling.recipe {
            quantized.clone()
        } else {
            self.quantize_input(x.clone())
        }
    }

    /// The second half of the forward pass: the product with the effective weight, and the bias.
    ///
    /// # Shapes
    /// - `x`: `[tokens, d_input]`, as [`quantize_input`](Self::quantize_input) gives it
    /// - output: `[tokens, d_output]`
    pub(crate) fn product(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let in_codes = self.recipe.has_codes_of_tokens();
        let packed = self.packed.as_ref().filter(|_| in_codes).and_then(|p| p.product(&x));
        let y = match (packed, self.fused(&x)) {
            (Some(y), _) => y,
            (None, Some(coding)) => coding.linear(x, self.weight.val()),
            (None, None) => self.precision.matmul(x, self.effective_weight()),
        };
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    }

    /// The weight that the forward pass multiplies by, `[d_input, d_output]`: at most three
    /// distinct values a scale in ternary mode. Carries the straight-through gradient.
    pub fn effective_weight(&self) -> Tensor<B, 2> {
        if let Some(packed) = &self.packed {
            return packed.quantized(&self.weight.lazy_device()).dequantize();
        }
        let Recipe { quant, group_size, .. } = self.recipe;
        let weight = self.weight.val();
        if quant == WeightQuant::None {
            return weight;
        }
        self.recipe.quantize(weight, |w| quant.quantize(w, group_size).dequantize())
    }

    /// Codes and scales of the weight, without gradient; `None` in full precision.
    ///
    /// This is what packing must store: quantising [`effective_weight`](Self::effective_weight)
    /// again would shrink the scale by the share of zeros.
    pub fn quantized_weight(&self) -> Option<QuantizedWeight<B>> {
        if let Some(packed) = &self.packed {
            return Some(packed.quantized(&self.weight.lazy_device()));
        }
        let Recipe { quant, group_size, .. } = self.recipe;
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
        self.recipe.input_codes(x)
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
            self.recipe.strength = 1.0;
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
        self.recipe.quant
    }
}

impl Recipe {
    /// The norm alone.
    fn normalize_input<B: Backend>(self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.norm.apply(x, self.norm_eps)
    }

    /// Whether inputs are 8-bit codes with one scale a token.
    fn has_codes_of_tokens(self) -> bool {
        let weights = matches!(self.quant, WeightQuant::Ternary | WeightQuant::Binary);
        weights && self.activation == ActivationQuant::Int8PerToken && self.strength == 1.0
    }

    /// Norm and input quantiser: `[tokens, d_input]` to the same shape.
    fn quantize_input<B: Backend>(self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let Recipe { quant, activation, norm, norm_eps, group_size, .. } = self;
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
            (WeightQuant::None, _) | (_, ActivationQuant::None) => self.normalize_input(x),
            (_, ActivationQuant::Int8PerToken) => {
                self.quantize(self.normalize_input(x), |x| absmax_int8(x, &[1]).dequantize())
            }
            (_, ActivationQuant::Int8PerTensor) => {
                self.quantize(self.normalize_input(x), |x| absmax_int8(x, &[0, 1]).dequantize())
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
    fn input_codes<B: Backend>(self, x: Tensor<B, 2>) -> Option<(Tensor<B, 2>, Tensor<B, 2>)> {
        let Recipe { quant, activation, norm, norm_eps, group_size, .. } = self;
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
    fn quantize<B: Backend, const D: usize>(
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
