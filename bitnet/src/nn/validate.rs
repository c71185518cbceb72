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
    /// Checks that the sizes fit together, and that 32 bits hold the numbers beside them.
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`] naming the first field that does not fit.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.validate_as(|field| field)
    }

    /// As [`validate`](Self::validate), for a configuration that was written down with other names:
    /// `name` maps each field of this struct to the one that the error is to show.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn validate_as(
        &self,
        name: impl Fn(&'static str) -> &'static str,
    ) -> Result<(), ModelError> {
        let invalid = |reason: String| Err(ModelError::InvalidConfig(reason));
        for (field, size, max) in [
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
                let name = name(field);
                return invalid(format!("{name} is {size}, must be between 1 and {max}"));
            }
        }
        let parameters = self.parameter_count();
        if parameters > MAX_PARAMETERS {
            return invalid(format!("{parameters} parameters are more than {MAX_PARAMETERS}"));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let [heads, kv_heads] = ["heads", "kv_heads"].map(&name);
            return invalid(format!(
                "{heads} {} is no multiple of {kv_heads} {}",
                self.heads, self.kv_heads
            ));
        }
        if !self.dim_head.is_multiple_of(2) {
            return invalid(format!("{} is {}, must be even", name("dim_head"), self.dim_head));
        }
        for (field, value) in [
            ("rope_theta", self.rope_theta),
            ("norm_eps", self.norm_eps),
            ("init_std", self.init_std),
        ] {
            let held = value as f32;
            if !(held.is_finite() && held > 0.0) {
                let name = name(field);
                return invalid(format!(
                    "{name} is {value:?}, must be positive and finite in 32 bits"
                ));
            }
        }
        if self.quant == WeightQuant::BinaryPaper && self.norms != NormPlacement::InLinear {
            let [quant, norms] = ["quant", "norms"].map(&name);
            return invalid(format!("{quant} \"binary-paper\" needs {norms} \"in-linear\""));
        }
        if let Some(size) = self.group_size {
            for [inputs, _] in LinearRole::all(self).map(|role| role.shape(self)) {
                if size == 0 || !inputs.is_multiple_of(size) {
                    let name = name("group_size");
                    return invalid(format!(
                        "{name} {size} does not divide a layer of {inputs} inputs"
                    ));
                }
            }
        }
        Ok(())
    }
}
