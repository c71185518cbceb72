use std::f32::consts::FRAC_1_SQRT_2;

use super::{
    norm::Norm,
    workspace::{Workspace, add_to},
};
use crate::{nn::FeedForwardKind, packed::TernaryMatrix};

/// The feed-forward network, as [`FeedForward`](crate::nn::FeedForward).
#[derive(Debug, Clone)]
pub(super) struct FeedForward {
    pub(super) norm: Norm,
    /// Gate and up in one product, or up alone.
    pub(super) hidden: TernaryMatrix,
    pub(super) kind: FeedForwardKind,
    pub(super) sub_norm: Norm,
    pub(super) down: TernaryMatrix,
}

impl FeedForward {
    pub(super) fn norms(&self) -> [&Norm; 2] {
        [&self.norm, &self.sub_norm]
    }

    /// Its arrays, as a file holds them.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &[u8]> {
        let hidden = self.norm.array().into_iter().chain(self.hidden.arrays());
        hidden.chain(self.sub_norm.array()).chain(self.down.arrays())
    }

    /// Adds the network's output to the residual stream.
    ///
    /// # Shapes
    /// - `x`: `[all tokens, dim]`
    pub(super) fn add(&self, x: &mut [f32], work: &mut Workspace) {
        let Workspace { into_block, from_hidden, projected, .. } = work;
        let dim = self.hidden.inputs();
        let tokens = x.len() / dim;
        into_block.quantize_with(tokens, |token, row| {
            row.copy_from_slice(&x[token * dim..][..dim]);
            self.norm.apply(row);
        });
        let width = self.hidden.outputs();
        let hidden = Workspace::projected(projected, tokens * width);
        self.hidden.multiply(into_block, hidden);
        from_hidden.quantize_with(tokens, |token, row| {
            self.activate(&hidden[token * width..][..width], row);
            self.sub_norm.apply(row);
        });
        let out = Workspace::projected(projected, x.len());
        self.down.multiply(from_hidden, out);
        add_to(x, out);
    }

    /// The non-linearity of one token.
    fn activate(&self, projected: &[f32], out: &mut [f32]) {
        let (gate, up) = projected.split_at(projected.len() - out.len());
        match self.kind.gate() {
            Some(kind) => kind.forward(gate, up, out),
            None => out.iter_mut().zip(up).for_each(|(out, up)| {
                *out = up * ((libm::erff(up * FRAC_1_SQRT_2) + 1.0) * 0.5);
            }),
        }
    }
}
