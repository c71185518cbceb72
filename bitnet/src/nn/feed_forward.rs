use std::f64::consts::FRAC_1_SQRT_2;

use burn::{
    module::Module,
    tensor::{Tensor, backend::Backend},
};

use super::{
    BitLinear, BitNetTransformerConfig, FeedForwardKind, Observer, RmsNorm,
    bit_linear::project,
    schema::{LinearRole, NormRole},
};
use crate::{ops::quantized_linear::LinearInput, precision::Precision};

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
        let kind = config.feed_forward;
        Self {
            gate_proj: kind.is_gated().then(|| config.linear(LinearRole::Gate).init(device)),
            up_proj: config.linear(LinearRole::Up).init(device),
            down_proj: config.linear(LinearRole::Down).init(device),
            ffn_sub_norm: config.norm(NormRole::Down, device),
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
        let input = LinearInput::new(x.clone()).with_norm(norm.map(RmsNorm::op));
        let hidden = match self.gate_proj.as_ref().zip(self.kind.gate()) {
            Some((gate_proj, gate)) => {
                let projections = [gate_proj, &self.up_proj];
                observer.visit(&projections, &input);
                LinearInput::gated(gate, project(projections, input))
            }
            None => {
                observer.visit(&[&self.up_proj], &input);
                LinearInput::new(gelu(project([&self.up_proj], input).joined()))
            }
        };
        let sub_norm = self.ffn_sub_norm.as_ref().map(RmsNorm::op);
        let input = hidden.with_norm(sub_norm).with_residual(x);
        observer.visit(&[&self.down_proj], &input);
        project([&self.down_proj], input).joined().reshape(shape)
    }
}

/// `x · Φ(x)`, by the error function. Burn's own has the same values, but on most backends the
/// gradient of the tanh approximation.
fn gelu<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let twice_phi = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0);
    x * twice_phi.mul_scalar(0.5)
}
