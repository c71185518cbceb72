//! Normalisation: without learned gains inside a [`BitLinear`](crate::BitLinear), with gains in
//! the blocks around it.

use burn::{
    module::{Initializer, Module, Param},
    tensor::{Tensor, backend::Backend},
};
use serde::{Deserialize, Serialize};

use crate::ops::rms_norm::Norm;
pub use crate::ops::rms_norm::rms_normalize;

/// The normalisation inside a [`BitLinear`](crate::BitLinear), before its input is quantised
/// (SubLN: b1, §2.1; training tips, figure 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InnerNorm {
    /// Root-mean-square norm (b1.58).
    Rms,
    /// LayerNorm without affine (b1).
    Layer,
    /// No norm: the block around the layer has one (2B4T).
    #[default]
    None,
}

impl InnerNorm {
    /// Normalises over the last dimension.
    ///
    /// # Shapes
    /// - `x`: `[..., features]`; the output has the same shape.
    pub fn apply<B: Backend, const D: usize>(self, x: Tensor<B, D>, eps: f64) -> Tensor<B, D> {
        match self {
            Self::Rms => rms_normalize(x, eps),
            Self::Layer => layer_normalize(x, eps),
            Self::None => x,
        }
    }
}

/// `(x − mean x) / √(var x + ε)` over the last dimension, with the population variance.
pub fn layer_normalize<B: Backend, const D: usize>(x: Tensor<B, D>, eps: f64) -> Tensor<B, D> {
    let mean = x.clone().mean_dim(D - 1);
    rms_normalize(x - mean, eps)
}

/// RMSNorm with a learned gain a feature.
///
/// As Burn's own, but cheaper to train through: see [`rms_normalize`].
#[derive(Module, Debug)]
pub struct RmsNorm<B: Backend> {
    /// Gains, `[features]`; they start at one.
    pub weight: Param<Tensor<B, 1>>,
    eps: f64,
}

impl<B: Backend> RmsNorm<B> {
    /// A norm over `features`.
    pub fn new(features: usize, eps: f64, device: &B::Device) -> Self {
        Self { weight: Initializer::Ones.init([features], device), eps }
    }

    /// The operation.
    pub(crate) fn op(&self) -> Norm<B> {
        Norm { gains: self.weight.val(), eps: self.eps }
    }

    /// # Shapes
    /// - `x`: `[..., features]`; the output has the same shape.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        self.op().apply(x)
    }
}
