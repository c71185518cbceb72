//! What rows of activations go through before a quantised layer: gate, norm, codes. And back.

use super::{coding::encode_row, fresh::Piece, gate::Gate, rms_norm};

/// The way of a row to its codes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// Rows have a gate in their first half, and what passes it in their second.
    pub(super) gate: Option<Gate>,
    /// Gains of an RMSNorm, and its ε.
    pub(super) norm: Option<(&'a [f32], f32)>,
    /// Of a row, behind the gate.
    pub(super) width: usize,
}

/// Rows of codes, to be written.
pub(super) struct Encoded<'a> {
    /// Of each row, padded.
    pub(super) codes: &'a mut [i8],
    pub(super) scales: &'a mut [f32],
    pub(super) sums: &'a mut [i32],
    /// `1 / √(mean(x²) + ε)` of each row, where there is a norm.
    pub(super) factors: &'a mut [f32],
}

impl Encoded<'_> {
    /// The same, for a while.
    pub(super) fn reborrow(&mut self) -> Encoded<'_> {
        let Encoded { codes, scales, sums, factors } = self;
        Encoded { codes, scales, sums, factors }
    }
}

impl Source<'_> {
    /// Length of a row before the gate.
    pub(super) fn row(&self) -> usize {
        self.width * if self.gate.is_some() { 2 } else { 1 }
    }

    /// Encodes rows.
    pub(super) fn encode(&self, x: &[f32], to: Encoded<'_>) {
        let Encoded { codes, scales, sums, factors } = to;
        let stride = codes.len() / scales.len().max(1);
        let mut hidden = vec![0.0; self.width];
        let mut normed = vec![0.0; self.width];
        for (row, x) in x.chunks_exact(self.row()).enumerate() {
            let x = self.behind_gate(x, &mut hidden);
            let x = match self.norm {
                Some((gains, eps)) => {
                    let factor = &mut factors[row..=row];
                    rms_norm::normalize(x, gains, eps, &mut normed, factor);
                    &normed
                }
                None => x,
            };
            let codes = &mut codes[row * stride..][..self.width];
            (scales[row], sums[row]) = encode_row(x, codes);
        }
    }

    fn behind_gate<'a>(&self, x: &'a [f32], hidden: &'a mut [f32]) -> &'a [f32] {
        match self.gate {
            Some(gate) => {
                let (g, up) = x.split_at(self.width);
                gate.open(g, up, hidden);
                hidden
            }
            None => x,
        }
    }

    /// Takes gradients of what is encoded back through the norm, in place; adds to those of the
    /// gains.
    pub(super) fn behind_norm(
        &self,
        x: &[f32],
        factors: &[f32],
        grad: &mut [f32],
        for_gains: &mut [f32],
    ) {
        let Some((gains, _)) = self.norm else { return };
        let mut hidden = vec![0.0; self.width];
        let rows = x.chunks_exact(self.row()).zip(grad.chunks_exact_mut(self.width));
        for ((x, grad), factor) in rows.zip(factors.chunks(1)) {
            let x = self.behind_gate(x, &mut hidden);
            rms_norm::pull_back(x, gains, factor, grad, for_gains);
        }
    }

    /// The gradients of rows before the gate, from those behind it.
    pub(super) fn before_gate(&self, gate: Gate, x: &[f32], grad: &[f32], dx: Piece<'_, f32>) {
        let rows = x.chunks_exact(self.row()).zip(grad.chunks_exact(self.width));
        for ((x, grad), dx) in rows.zip(dx.parts(self.row())) {
            let (g, up) = x.split_at(self.width);
            let (dg, du) = dx.zeroed().split_at_mut(self.width);
            du.copy_from_slice(grad);
            gate.pull_back([g, up], dg, du);
        }
    }
}
