use burn::{
    module::Module,
    tensor::{Tensor, TensorData, backend::Backend},
};

/// Rotary position embedding of the *half-split* kind: feature `i` is paired with `i + d/2`, as in
/// the Hugging Face LLaMA and BitNet models. (Burn's own `RotaryEncoding` pairs neighbours.)
///
/// The pair `i` at position `p` turns by the angle `p · θ^(−2i/d)` (RoFormer, arXiv 2104.09864).
#[derive(Module, Debug)]
pub struct RotaryEmbedding<B: Backend> {
    /// Cosines, `[max_seq_len, dim_head]`, the half repeated.
    cos: Tensor<B, 2>,
    /// Sines, `[max_seq_len, dim_head]`, the first half negated.
    sin: Tensor<B, 2>,
}

impl<B: Backend> RotaryEmbedding<B> {
    /// Tables for positions `0 .. max_seq_len` of heads of an even width `dim_head`.
    pub fn new(max_seq_len: usize, dim_head: usize, theta: f64, device: &B::Device) -> Self {
        let half = dim_head / 2;
        let frequency = |i: usize| theta.powf(-((2 * i) as f64) / dim_head as f64);
        let mut cos = Vec::with_capacity(max_seq_len * dim_head);
        let mut sin = Vec::with_capacity(max_seq_len * dim_head);
        for position in 0..max_seq_len {
            for feature in 0..dim_head {
                // In f64: at long contexts f32 angles would lose whole digits.
                let angle = position as f64 * frequency(feature % half);
                let sign = if feature < half { -1.0 } else { 1.0 };
                cos.push(angle.cos() as f32);
                sin.push((sign * angle.sin()) as f32);
            }
        }
        let table =
            |values| Tensor::from_data(TensorData::new(values, [max_seq_len, dim_head]), device);
        Self { cos: table(cos), sin: table(sin) }
    }

    /// Rotates queries or keys that stand at positions `start .. start + seq`.
    ///
    /// # Shapes
    /// - `x`: `[batch, heads, seq, dim_head]`; the output has the same shape.
    pub fn forward(&self, x: Tensor<B, 4>, start: usize) -> Tensor<B, 4> {
        let [_, _, seq, dim_head] = x.dims();
        let half = dim_head / 2;
        let rows =
            |table: &Tensor<B, 2>| table.clone().slice([start..start + seq]).unsqueeze::<4>();
        let swapped =
            Tensor::cat(vec![x.clone().narrow(3, half, half), x.clone().narrow(3, 0, half)], 3);
        x * rows(&self.cos) + swapped * rows(&self.sin)
    }
}
