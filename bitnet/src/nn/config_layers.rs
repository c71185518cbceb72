//! The layers that a configuration describes: linears, norms and their initialiser.

use burn::{module::Initializer, tensor::backend::Backend};

use super::{
    BitLinearConfig, BitNetTransformerConfig, InnerNorm, NormPlacement, RmsNorm,
    schema::{LinearRole, NormRole},
};
use crate::quant::WeightQuant;

impl BitNetTransformerConfig {
    /// The configuration of a block's linear layer.
    pub(super) fn linear(&self, role: LinearRole) -> BitLinearConfig {
        let [d_input, d_output] = role.shape(self);
        let norm = match (self.norms, self.quant) {
            (NormPlacement::SubNorm, _) => InnerNorm::None,
            (NormPlacement::InLinear, WeightQuant::BinaryPaper) => InnerNorm::Layer,
            (NormPlacement::InLinear, _) => InnerNorm::Rms,
        };
        BitLinearConfig {
            bias: self.bias,
            quant: self.quant,
            activation: self.activation,
            norm,
            norm_eps: self.norm_eps,
            group_size: self.group_size,
            before_nonlinearity: match role {
                LinearRole::Gate => true,
                LinearRole::Up => !self.feed_forward.is_gated(),
                _ => false,
            },
            initializer: self.initializer(),
            ..BitLinearConfig::new(d_input, d_output)
        }
    }

    /// The initialiser of linears and embeddings.
    pub(crate) fn initializer(&self) -> Initializer {
        Initializer::Normal { mean: 0.0, std: self.init_std }
    }

    /// A norm of a block, if blocks have it.
    pub(super) fn norm<B: Backend>(
        &self,
        role: NormRole,
        device: &B::Device,
    ) -> Option<RmsNorm<B>> {
        role.is_in(self).then(|| RmsNorm::new(role.features(self), self.norm_eps, device))
    }
}
