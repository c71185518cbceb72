use super::BitNetTransformerConfig;
use crate::quant::WeightQuant;

impl BitNetTransformerConfig {
    /// The shapes `[d_input, d_output]` of a block's linears.
    fn linears(&self) -> impl Iterator<Item = [u128; 2]> {
        let [dim, ff_dim, head] = [self.dim, self.ff_dim, self.dim_head].map(|n| n as u128);
        let (q, kv) = (self.heads as u128 * head, self.kv_heads as u128 * head);
        let gate = self.feed_forward.is_gated().then_some([dim, ff_dim]);
        [[dim, q], [dim, kv], [dim, kv], [q, dim], [dim, ff_dim], [ff_dim, dim]]
            .into_iter()
            .chain(gate)
    }

    /// Number of weights that are quantised: those of the blocks' linears, or none of them.
    pub fn quantized_count(&self) -> u128 {
        match self.quant {
            WeightQuant::None => 0,
            _ => {
                self.depth as u128 * self.linears().map(|[d_in, d_out]| d_in * d_out).sum::<u128>()
            }
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
        let packed =
            self.linears().map(|shape| (shape[0] * shape[1]).div_ceil(4) + 4 * scales(shape));
        self.depth as u128 * packed.sum::<u128>() + others
    }
}
