//! Normalisation without learned gains, as it stands inside a [`BitLinear`](crate::BitLinear).
//!
//! Norms with gains are Burn's own [`RmsNorm`](burn::nn::RmsNorm).

use burn::tensor::{Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

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

/// `x / √(mean(x²) + ε)` over the last dimension.
pub fn rms_normalize<B: Backend, const D: usize>(x: Tensor<B, D>, eps: f64) -> Tensor<B, D> {
    let rms = x.clone().square().mean_dim(D - 1).add_scalar(eps).sqrt();
    x / rms
}

/// `(x − mean x) / √(var x + ε)` over the last dimension, with the population variance.
pub fn layer_normalize<B: Backend, const D: usize>(x: Tensor<B, D>, eps: f64) -> Tensor<B, D> {
    let mean = x.clone().mean_dim(D - 1);
    rms_normalize(x - mean, eps)
}
