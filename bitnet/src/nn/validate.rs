use super::{BitNetTransformerConfig, ModelError, NormPlacement, schema::LinearRole};
use crate::quant::WeightQuant;

/// Largest value of any size in a configuration: far above real models, low enough that products
/// of sizes cannot overflow.
const MAX_SIZE: usize = 1 << 24;

/// Largest depth and width of a head. A model is built before its weights are read, so that a
/// damaged configuration must not ask for all memory.
const MAX_DEPTH: usize = 1 << 12;
const MAX_DIM_HEAD: usize = 1 << 10;

/// Most parameters of a model.
const MAX_PARAMETERS: u128 = 1 << 40;

impl BitNetTransformerConfig {
    /// Checks that the sizes fit together.
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`] naming the first field that does not fit.
    pub fn validate(&self) -> Result<(), ModelError> {
        let invalid = |reason: String| Err(ModelError::InvalidConfig(reason));
        for (name, size, max) in [
            ("num_tokens", self.num_tokens, MAX_SIZE),
            ("dim", self.dim, MAX_SIZE),
            ("depth", self.depth, MAX_DEPTH),
            ("heads", self.heads, MAX_SIZE),
            ("kv_heads", self.kv_heads, MAX_SIZE),
            ("dim_head", self.dim_head, MAX_DIM_HEAD),
            ("ff_dim", self.ff_dim, MAX_SIZE),
            ("max_seq_len", self.max_seq_len, MAX_SIZE),
        ] {
            if !(1..=max).contains(&size) {
                return invalid(format!("{name} is {size}, must be between 1 and {max}"));
            }
        }
        let parameters = self.parameter_count();
        if parameters > MAX_PARAMETERS {
            return invalid(format!("{parameters} parameters are more than {MAX_PARAMETERS}"));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return invalid(format!(
                "{} heads cannot be shared among {} kv_heads",
                self.heads, self.kv_heads
            ));
        }
        if !self.dim_head.is_multiple_of(2) {
            return invalid(format!("dim_head is {}, must be even", self.dim_head));
        }
        for (name, value) in [
            ("rope_theta", self.rope_theta),
            ("norm_eps", self.norm_eps),
            ("init_std", self.init_std),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return invalid(format!("{name} is {value}, must be positive and finite"));
            }
        }
        if self.quant == WeightQuant::BinaryPaper && self.norms != NormPlacement::InLinear {
            return invalid("quant \"binary-paper\" needs norms \"in-linear\"".into());
        }
        if let Some(size) = self.group_size {
            for [inputs, _] in LinearRole::all(self).map(|role| role.shape(self)) {
                if size == 0 || !inputs.is_multiple_of(size) {
                    return invalid(format!(
                        "group_size {size} does not divide a layer of {inputs} inputs"
                    ));
                }
            }
        }
        Ok(())
    }
}
