use super::{
    BitNetTransformerConfig,
    schema::{LinearRole, NormRole},
};
use crate::quant::WeightQuant;

impl BitNetTransformerConfig {
    /// Number of parameters, all together.
    pub fn parameter_count(&self) -> u128 {
        // Wide enough for any product of sizes that are not yet validated.
        let [vocab, dim, depth] = [self.num_tokens, self.dim, self.depth].map(|n| n as u128);
        let biases: u128 = match self.bias {
            true => LinearRole::all(self).map(|role| role.wide_shape(self)[1]).sum(),
            false => 0,
        };
        let gains: u128 = NormRole::all(self).map(|role| role.wide_features(self)).sum();
        let embeddings = if self.tie_embeddings { 1 } else { 2 };
        embeddings * vocab * dim + self.linear_weight_count() + depth * (biases + gains) + dim
    }

    /// Number of weights of the blocks' linears.
    pub(super) fn linear_weight_count(&self) -> u128 {
        let weights = LinearRole::all(self).map(|role| {
            let [inputs, outputs] = role.wide_shape(self);
            inputs * outputs
        });
        self.depth as u128 * weights.sum::<u128>()
    }

    /// Number of weights that are quantised: those of the blocks' linears, or none of them.
    pub fn quantized_count(&self) -> u128 {
        match self.quant {
            WeightQuant::None => 0,
            _ => self.linear_weight_count(),
        }
    }

    /// Bytes of the packed model: 2 bits a quantised weight, each matrix rounded up to whole
    /// bytes, an f32 a scale, and `bytes_of_others` for any other parameter.
    pub fn packed_bytes(&self, bytes_of_others: u128) -> u128 {
        let others = bytes_of_others * (self.parameter_count() - self.quantized_count());
        if self.quant == WeightQuant::None {
            return others;
        }
        let scales = |[d_input, d_output]: [u128; 2]| match (self.group_size, self.quant) {
            (None, _) => 1,
            (Some(size), WeightQuant::BinaryPaper) => d_input / size as u128,
            (Some(size), _) => d_input / size as u128 * d_output,
        };
        let packed = LinearRole::all(self)
            .map(|role| role.wide_shape(self))
            .map(|shape| (shape[0] * shape[1]).div_ceil(4) + 4 * scales(shape));
        self.depth as u128 * packed.sum::<u128>() + others
    }
}
