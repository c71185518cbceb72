use burn::{
    module::Module,
    tensor::{Tensor, TensorData, backend::Backend},
};

use super::BitNetTransformerConfig;
use crate::ops::rotate::{Positions, Rotation};

/// Rotary position embedding of the *half-split* kind: feature `i` is paired with `i + d/2`, as in
/// the Hugging Face LLaMA and BitNet models. (Burn's own `RotaryEncoding` pairs neighbours.)
///
/// The pair `i` at position `p` turns by the angle `p · θ^(−2i/d)` (RoFormer, arXiv 2104.09864).
#[derive(Module, Debug)]
pub struct RotaryEmbedding<B: Backend> {
    /// Cosines, `[max_seq_len, dim_head]`, both halves alike.
    cos: Tensor<B, 2>,
    /// Sines, `[max_seq_len, dim_head]`, both halves alike.
    sin: Tensor<B, 2>,
    /// Sends the halves `(a, b)` of a head to `(−b, a)`: a signed permutation, `[d, d]`.
    ///
    /// A product with it is exact, and cheaper than taking the halves apart and together again,
    /// forward and backward.
    swap: Tensor<B, 2>,
    heads: usize,
    kv_heads: usize,
}

impl<B: Backend> RotaryEmbedding<B> {
    pub(super) fn new(config: &BitNetTransformerConfig, device: &B::Device) -> Self {
        let &BitNetTransformerConfig { max_seq_len, dim_head, heads, kv_heads, .. } = config;
        let half = dim_head / 2;
        let angles: Vec<f64> = (0..max_seq_len)
            .flat_map(|position| (0..dim_head).map(move |feature| (position, feature % half)))
            // In f64: at long contexts f32 angles would lose whole digits.
            .map(|(position, pair)| {
                let exponent = -((2 * pair) as f64) / dim_head as f64;
                position as f64 * config.rope_theta.powf(exponent)
            })
            .collect();
        let mut swap = vec![0.0; dim_head * dim_head];
        for i in 0..half {
            swap[(i + half) * dim_head + i] = -1.0;
            swap[i * dim_head + i + half] = 1.0;
        }
        let matrix = |values: Vec<f32>| {
            let rows = values.len() / dim_head;
            Tensor::from_data(TensorData::new(values, [rows, dim_head]), device)
        };
        Self {
            cos: matrix(angles.iter().map(|angle| angle.cos() as f32).collect()),
            sin: matrix(angles.iter().map(|angle| angle.sin() as f32).collect()),
            swap: matrix(swap),
            heads,
            kv_heads,
        }
    }

    /// The rotations of positions `start .. start + seq`, made once for all layers.
    pub(super) fn at(&self, start: usize, seq: usize) -> Positions<B> {
        let [_, dim_head] = self.cos.dims();
        let table = |table: &Tensor<B, 2>, heads: usize, factor: f64| {
            let rows = table.clone().narrow(0, start, seq).mul_scalar(factor);
            rows.unsqueeze_dim::<3>(1).repeat_dim(1, heads).reshape([1, seq * heads * dim_head])
        };
        let rotation = |heads, factor| Rotation {
            cos: table(&self.cos, heads, factor),
            sin: table(&self.sin, heads, factor),
            swap: self.swap.clone(),
        };
        let scale = (dim_head as f64).sqrt().recip();
        Positions {
            start,
            angles: [&self.cos, &self.sin].map(|table| table.clone().narrow(0, start, seq)),
            queries: rotation(self.heads, scale),
            keys: rotation(self.kv_heads, 1.0),
        }
    }
}
