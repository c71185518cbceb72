use crate::{cpu::rope, nn::BitNetTransformerConfig};

/// Rotary position embedding, as [`RotaryEmbedding`](crate::nn::RotaryEmbedding).
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    /// Turn of each pair of features from one position to the next, `[dim_head / 2]`.
    steps: Vec<f64>,
    /// By what queries are multiplied besides: `1 / √dim_head`.
    query_factor: f32,
}

impl Rotary {
    pub(super) fn new(config: &BitNetTransformerConfig) -> Self {
        let dim_head = config.dim_head as f64;
        let steps = (0..config.dim_head / 2)
            .map(|pair| config.rope_theta.powf(-((2 * pair) as f64) / dim_head))
            .collect();
        Self { steps, query_factor: dim_head.sqrt().recip() as f32 }
    }

    /// The rotations of some positions, made once for all blocks.
    pub(super) fn at(&self, positions: &[usize]) -> Rotations {
        let turns = positions.iter().flat_map(|&position| {
            self.steps.iter().map(move |step| {
                // In f64: at long contexts f32 angles would lose whole digits.
                let (sin, cos) = (position as f64 * step).sin_cos();
                (cos as f32, sin as f32)
            })
        });
        let keys: Vec<(f32, f32)> = turns.collect();
        let factor = self.query_factor;
        let queries = keys.iter().map(|(cos, sin)| (cos * factor, sin * factor)).collect();
        Rotations { half: self.steps.len(), queries, keys }
    }
}

/// Cosine and sine of each pair of features at some positions, `[positions, dim_head / 2]`.
pub(super) struct Rotations {
    half: usize,
    queries: Vec<(f32, f32)>,
    keys: Vec<(f32, f32)>,
}

impl Rotations {
    /// Turns a query head of the `row`-th position, and scales it for the attention.
    pub(super) fn turn_query(&self, row: usize, head: &mut [f32]) {
        rope::rotate_head(&self.queries[row * self.half..][..self.half], head);
    }

    /// Turns a key head of the `row`-th position.
    pub(super) fn turn_key(&self, row: usize, head: &mut [f32]) {
        rope::rotate_head(&self.keys[row * self.half..][..self.half], head);
    }
}
