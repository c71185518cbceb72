use crate::{cpu::rope, nn::BitNetTransformerConfig};

/// Rotary position embedding, as [`RotaryEmbedding`](crate::nn::RotaryEmbedding).
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    /// Angle of each pair of features from one position to the next, `[dim_head / 2]`.
    frequencies: Vec<f64>,
    /// By what queries are multiplied besides: `1 / √dim_head`.
    query_factor: f32,
}

impl Rotary {
    pub(super) fn new(config: &BitNetTransformerConfig) -> Self {
        let frequencies = rope::frequencies(config.dim_head, config.rope_theta);
        Self { frequencies, query_factor: (config.dim_head as f64).sqrt().recip() as f32 }
    }

    /// The rotations of some positions, made once for all blocks.
    pub(super) fn at(&self, positions: &[usize]) -> Rotations {
        let angles = positions.iter().flat_map(|&position| {
            self.frequencies.iter().map(move |frequency| {
                // In f64: at long contexts f32 angles would lose whole digits.
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                (cos as f32, sin as f32)
            })
        });
        let keys: Vec<(f32, f32)> = angles.collect();
        let factor = self.query_factor;
        let queries = keys.iter().map(|(cos, sin)| (cos * factor, sin * factor)).collect();
        Rotations { half: self.frequencies.len(), queries, keys }
    }
}

/// Cosine and sine of each pair of features at some positions, `[positions, dim_head / 2]`.
pub(super) struct Rotations {
    half: usize,
    queries: Vec<(f32, f32)>,
    keys: Vec<(f32, f32)>,
}

impl Rotations {
    /// Rotates a query head of the `row`-th position, and scales it for the attention.
    pub(super) fn rotate_query(&self, row: usize, head: &mut [f32]) {
        rope::rotate_head(&self.queries[row * self.half..][..self.half], head);
    }

    /// Rotates a key head of the `row`-th position.
    pub(super) fn rotate_key(&self, row: usize, head: &mut [f32]) {
        rope::rotate_head(&self.keys[row * self.half..][..self.half], head);
    }
}
