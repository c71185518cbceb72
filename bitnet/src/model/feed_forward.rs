use std::f64::consts::FRAC_1_SQRT_2;

use burn::{
    module::Module,
    tensor::{
        Tensor,
        activation::{relu, silu},
        backend::Backend,
    },
};

use super::{BitNetTransformerConfig, FeedForwardKind, Observer, attention::normalized};
use crate::{
    fused,
    linear::{BitLinear, Joint},
    norm::RmsNorm,
    precision::Precision,
};

/// The feed-forward network of a block; [`FeedForwardKind`] has the formulas.
#[derive(Module, Debug)]
pub struct FeedForward<B: Backend> {
    /// Gate: `dim` to `ff_dim`, in the gated kinds.
    pub gate_proj: Option<BitLinear<B>>,
    /// Up: `dim` to `ff_dim`.
    pub up_proj: BitLinear<B>,
    /// Down: `ff_dim` to `dim`.
    pub down_proj: BitLinear<B>,
    /// Norm before `down_proj` (2B4T), where blocks have their own norms.
    pub ffn_sub_norm: Option<RmsNorm<B>>,
    #[module(skip)]
    kind: FeedForwardKind,
}

impl<B: Backend> FeedForward<B> {
    pub(super) fn new(config: &BitNetTransformerConfig, device: &B::Device) -> Self {
        let &BitNetTransformerConfig { dim, ff_dim, feed_forward: kind, .. } = config;
        let into_hidden = |before_nonlinearity| {
            config.linear(dim, ff_dim).with_before_nonlinearity(before_nonlinearity).init(device)
        };
        Self {
            gate_proj: kind.is_gated().then(|| into_hidden(true)),
            up_proj: into_hidden(!kind.is_gated()),
            down_proj: config.linear(ff_dim, dim).init(device),
            ffn_sub_norm: config.block_norm(ff_dim, device),
            kind,
        }
    }

    pub(super) fn set_quant_strength(&mut self, strength: f64) {
        self.projections_mut().for_each(|proj| proj.set_quant_strength(strength));
    }

    pub(super) fn set_precision(&mut self, precision: Precision) {
        self.projections_mut().for_each(|proj| proj.set_precision(precision));
    }

    pub(super) fn pack(&mut self) {
        self.projections_mut().for_each(BitLinear::pack_weight);
    }

    fn projections_mut(&mut self) -> impl Iterator<Item = &mut BitLinear<B>> {
        let Self { gate_proj, up_proj, down_proj, .. } = self;
        gate_proj.iter_mut().chain([up_proj, down_proj])
    }

    /// The network of the normalised input, added to the input.
    ///
    /// # Shapes
    /// - `x`: `[batch, seq, dim]`; the output has the same shape.
    pub(super) fn forward(
        &self,
        x: Tensor<B, 3>,
        norm: Option<&RmsNorm<B>>,
        observer: Observer<'_, B>,
    ) -> Tensor<B, 3> {
        let shape @ [batch, seq, dim] = x.dims();
        let x = x.reshape([batch * seq, dim]);
        if let Some(y) = self.forward_joint(&x, norm, observer) {
            return y.reshape(shape);
        }
        let residual = x.clone();
        let x = normalized(norm, x);
        match &self.gate_proj {
            Some(gate_proj) => observer.see(&[gate_proj, &self.up_proj], &x),
            None => observer.see(&[&self.up_proj], &x),
        }
        let quantized = self.up_proj.quantize_input(x.clone());
        let hidden = match &self.gate_proj {
            Some(gate_proj) => {
                let for_gate = gate_proj.share_input(&self.up_proj, &x, &quantized);
                let gate = gate_proj.product(for_gate);
                let up = self.up_proj.product(quantized);
                gated(self.kind, gate, up)
            }
            None => gelu(self.up_proj.product(quantized)),
        };
        let hidden = normalized(self.ffn_sub_norm.as_ref(), hidden);
        observer.see(&[&self.down_proj], &hidden);
        (residual + self.down_proj.forward(hidden)).reshape(shape)
    }

    /// The same in two operations, where these are fused and nobody looks.
    fn forward_joint(
        &self,
        x: &Tensor<B, 2>,
        norm: Option<&RmsNorm<B>>,
        observer: Observer<'_, B>,
    ) -> Option<Tensor<B, 2>> {
        let gate = match self.kind {
            FeedForwardKind::Swiglu => fused::Gate::Silu,
            FeedForwardKind::Relu2Gated => fused::Gate::Relu2,
            FeedForwardKind::Gelu => return None,
        };
        if observer.looks() {
            return None;
        }
        let into_hidden = Joint::new([self.gate_proj.as_ref()?, &self.up_proj], norm, x)?;
        let down = Joint::new([&self.down_proj], self.ffn_sub_norm.as_ref(), x)?;
        let hidden = into_hidden.apply(x.clone());
        Some(down.add_to(x.clone(), hidden, Some(gate)))
    }
}

/// The activation of the gated kinds.
fn gated<B: Backend>(kind: FeedForwardKind, gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
    let fused = fused::applies(&gate);
    match kind {
        FeedForwardKind::Swiglu if fused => fused::Gate::Silu.apply(gate, up),
        FeedForwardKind::Swiglu => silu(gate) * up,
        _ if fused => fused::Gate::Relu2.apply(gate, up),
        _ => relu(gate).square() * up,
    }
}

/// `x · Φ(x)`, by the error function. Burn's own has the same values, but on most backends the
/// gradient of the tanh approximation.
fn gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let twice_phi = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0);
    x * twice_phi.mul_scalar(0.5)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn_flex::Flex;

    use super::*;

    #[test]
    fn gated_networks_behind_norms_are_two_operations() {
        let device = Default::default();
        for (kind, joint) in [
            (FeedForwardKind::Relu2Gated, true),
            (FeedForwardKind::Swiglu, true),
            (FeedForwardKind::Gelu, false),
        ] {
            let config = BitNetTransformerConfig {
                ff_dim: 64,
                feed_forward: kind,
                ..BitNetTransformerConfig::new(9, 32, 1)
            };
            let network = FeedForward::<Flex>::new(&config, &device);
            let norm = config.block_norm(32, &device);
            let x = Tensor::ones([3, 32], &device);
            let found = network.forward_joint(&x, norm.as_ref(), Observer::NONE);
            assert_eq!(found.is_some(), joint, "{kind:?}");
        }
    }
}
