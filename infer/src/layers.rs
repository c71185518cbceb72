//! The quantised layers of a model, as `infer info` shows them.

use bitnet::{BitLinear, BitNetTransformer};
use burn::tensor::backend::Backend;

/// What is known of a quantised layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its name, that of its weight in `model.safetensors` without `model.` and `.weight`.
    pub name: String,
    /// Input features.
    pub inputs: usize,
    /// Output features.
    pub outputs: usize,
    /// Weights whose code is zero.
    pub zeros: usize,
    /// Number of scales.
    pub scales: usize,
    /// Mean of the scales.
    pub scale: f64,
}

impl Layer {
    /// `None` where the layer is in full precision.
    fn of<B: Backend>(name: String, linear: &BitLinear<B>) -> Option<Self> {
        let weight = linear.quantized_weight()?;
        let [inputs, outputs] = linear.weight.dims();
        let scales: Vec<f64> = weight.scale.into_data().iter::<f64>().collect();
        Some(Self {
            name,
            inputs,
            outputs,
            zeros: weight.codes.into_data().iter::<f32>().filter(|&code| code == 0.0).count(),
            scales: scales.len(),
            scale: scales.iter().sum::<f64>() / scales.len() as f64,
        })
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.inputs * self.outputs
    }

    /// Share of weights whose code is zero.
    pub fn zero_fraction(&self) -> f64 {
        self.zeros as f64 / self.weights() as f64
    }

    /// Bytes where each weight takes 2 bits and each scale an f32.
    pub fn packed_bytes(&self) -> usize {
        self.weights().div_ceil(4) + 4 * self.scales
    }
}

/// The quantised layers, in the order of the forward pass.
pub fn quantized<B: Backend>(model: &BitNetTransformer<B>) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (index, block) in model.layers.iter().enumerate() {
        let (attention, mlp) = (&block.self_attn, &block.mlp);
        let linears = [
            ("self_attn.q_proj", Some(&attention.q_proj)),
            ("self_attn.k_proj", Some(&attention.k_proj)),
            ("self_attn.v_proj", Some(&attention.v_proj)),
            ("self_attn.o_proj", Some(&attention.o_proj)),
            ("mlp.gate_proj", mlp.gate_proj.as_ref()),
            ("mlp.up_proj", Some(&mlp.up_proj)),
            ("mlp.down_proj", Some(&mlp.down_proj)),
        ];
        layers.extend(
            linears
                .into_iter()
                .filter_map(|(name, linear)| Layer::of(format!("layers.{index}.{name}"), linear?)),
        );
    }
    layers
}
