use burn::module::Initializer;

use crate::{
    nn::norm::InnerNorm,
    quant::{ActivationQuant, WeightQuant},
};

/// Configuration of a [`BitLinear`](super::BitLinear).
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
    /// The input quantiser. Default: 8 bits per token. In [`WeightQuant::BinaryPaper`] any 8-bit
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
    /// Initialiser of the latent weight. Default: normal, standard deviation 0.02.
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
}
