use std::ops::Range;

use burn::{
    module::Module,
    tensor::{Tensor, TensorData, backend::Backend},
};

use super::BitNetTransformerConfig;
use crate::{
    cpu::rope::frequencies,
    ops::rotate::{Positions, Rotation},
};

/// Most entries of a table that is made with the model: a context may be longer than any text that
/// is read. The angles of positions after it are computed for each forward pass.
const MAX_TABLE_ENTRIES: usize = 1 << 20;

/// Rotary position embedding of the *half-split* kind: feature `i` is paired with `i + d/2`, as in
/// the Hugging Face LLaMA and BitNet models. (Burn's own `RotaryEncoding` pairs neighbours.)
///
/// The pair `i` at position `p` is rotated by the angle `p · θ^(−2i/d)` (RoFormer, arXiv
/// 2104.09864).
#[derive(Module, Debug)]
pub struct RotaryEmbedding<B: Backend> {
    /// Cosines of the first positions, `[positions, dim_head]`, both halves alike.
    cos: Tensor<B, 2>,
    /// Their sines.
    sin: Tensor<B, 2>,
    /// Sends the halves `(a, b)` of a head to `(−b, a)`: a signed permutation, `[d, d]`.
    ///
    /// A product with it is exact, and cheaper than taking the halves apart and together again,
    /// forward and backward.
    swap: Tensor<B, 2>,
    theta: f64,
    heads: usize,
    kv_heads: usize,
}

impl<B: Backend> RotaryEmbedding<B> {
    pub(super) fn new(config: &BitNetTransformerConfig, device: &B::Device) -> Self {
        let &BitNetTransformerConfig { max_seq_len, dim_head, heads, kv_heads, rope_theta, .. } =
            config;
        let half = dim_head / 2;
        let mut swap = vec![0.0_f32; dim_head * dim_head];
        for i in 0..half {
            swap[(i + half) * dim_head + i] = -1.0;
            swap[i * dim_head + i + half] = 1.0;
        }
        let positions = max_seq_len.min(MAX_TABLE_ENTRIES / dim_head);
        let [cos, sin] = angles(0..positions, dim_head, rope_theta, device);
        let swap = Tensor::from_data(TensorData::new(swap, [dim_head, dim_head]), device);
        Self { cos, sin, swap, theta: rope_theta, heads, kv_heads }
    }

    /// The rotations of positions `start .. start + seq`, made once for all layers.
    pub(super) fn at(&self, start: usize, seq: usize) -> Positions<B> {
        let [positions, dim_head] = self.cos.dims();
        let angles = match start + seq <= positions {
            true => [&self.cos, &self.sin].map(|table| table.clone().narrow(0, start, seq)),
            false => angles(start..start + seq, dim_head, self.theta, &self.swap.device()),
        };
        let rotation = |heads, factor: f64| {
            let [cos, sin] = [&angles[0], &angles[1]].map(|table| {
                let rows = table.clone().mul_scalar(factor).unsqueeze_dim::<3>(1);
                rows.repeat_dim(1, heads).reshape([1, seq * heads * dim_head])
            });
            Rotation { cos, sin, swap: self.swap.clone() }
        };
        let scale = (dim_head as f64).sqrt().recip();
        let (queries, keys) = (rotation(self.heads, scale), rotation(self.kv_heads, 1.0));
        Positions { start, angles, queries, keys }
    }
}

/// Cosines and sines of some positions, `[positions, dim_head]`, both halves alike.
fn angles<B: Backend>(
    positions: Range<usize>,
    dim_head: usize,
    theta: f64,
    device: &B::Device,
) -> [Tensor<B, 2>; 2] {
    let frequencies = frequencies(dim_head, theta);
    [f64::cos, f64::sin].map(|function: fn(f64) -> f64| {
        let mut values = Vec::with_capacity(positions.len() * dim_head);
        for position in positions.clone() {
            let angles = frequencies.iter().map(|frequency| position as f64 * frequency);
            values.extend(angles.map(|angle| function(angle) as f32));
            values.extend_from_within(values.len() - dim_head / 2..);
        }
        Tensor::from_data(TensorData::new(values, [positions.len(), dim_head]), device)
    })
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use super::*;

    type B = burn_flex::Flex;

    /// Beyond the table and across its end, the angles are what they would be in a longer one.
    #[test]
    fn positions_after_the_table_are_computed() {
        let config = BitNetTransformerConfig {
            max_seq_len: 1 << 24,
            ..BitNetTransformerConfig::new(256, 64, 1).with_heads(2).with_dim_head(1024)
        };
        config.validate().unwrap();
        let device = Default::default();
        let rope = RotaryEmbedding::<B>::new(&config, &device);
        let rows = MAX_TABLE_ENTRIES / 1024;
        assert_eq!(rope.cos.dims(), [rows, 1024]);
        let expected = angles::<B>(0..rows + 2, 1024, config.rope_theta, &device);
        for (start, seq) in [(0, 3), (rows - 2, 2), (rows - 2, 4), (rows, 1)] {
            let [cos, sin] = rope.at(start, seq).angles;
            let same = |a: Tensor<B, 2>, b: &Tensor<B, 2>| {
                a.into_data().assert_eq(&b.clone().narrow(0, start, seq).into_data(), true);
            };
            same(cos, &expected[0]);
            same(sin, &expected[1]);
        }
        let [cos, _] = rope.at((1 << 24) - 1, 1).angles;
        let first: f32 = cos.narrow(1, 0, 1).into_scalar();
        assert_eq!(first, f64::from((1u32 << 24) - 1).cos() as f32);
    }
}
