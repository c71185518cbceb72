use super::{BitNetTransformerConfig, schema::LinearRole};

impl BitNetTransformerConfig {
    /// Floating-point operations of a training step for each token of sequences of length `seq`,
    /// as they are usually counted (PaLM, arXiv 2204.02311, appendix B):
    ///
    /// ```text
    /// 6·N + 12 · depth · heads · dim_head · seq
    /// ```
    ///
    /// N are the weights of matrix products: linears and output head, but not embedding look-up,
    /// norms and biases. A product is two operations for each weight and token, forward and twice
    /// backward. The second term is the attention's, whose scores are computed before they are
    /// masked.
    pub fn training_flops_per_token(&self, seq: usize) -> f64 {
        let [vocab, dim, depth] = [self.num_tokens, self.dim, self.depth].map(|size| size as f64);
        let queries = LinearRole::Queries.wide_shape(self)[1] as f64;
        let weights = self.linear_weight_count() as f64 + dim * vocab;
        6.0 * weights + 12.0 * depth * queries * seq as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_by_hand() {
        // 4·8·8 + 3·8·32 = 1024 weights a block, 8·10 in the head; attention 12·2·8·5.
        let config = BitNetTransformerConfig::new(10, 8, 2).with_heads(2).with_dim_head(4);
        assert_eq!(config.training_flops_per_token(5), 6.0 * 2128.0 + 960.0);
        // One key/value head of width 4 in the place of two: 2·8·4 weights less a block.
        let grouped = config.with_kv_heads(1);
        assert_eq!(grouped.training_flops_per_token(5), 6.0 * (2128.0 - 128.0) + 960.0);
    }
}
