use serde::{Deserialize, Serialize};

/// How a [`BitLinear`](crate::BitLinear) quantises its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActivationQuant {
    /// 8 bits, one scale per token (b1.58).
    #[default]
    Int8PerToken,
    /// 8 bits, one scale for the whole input tensor.
    Int8PerTensor,
    /// Unquantised activations ("weight-only", as Spectra's TriLM).
    None,
}
