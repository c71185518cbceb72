//! What rows of activations go through before a quantised product: gate, norm, 8-bit codes. And the
//! gradients on the way back.

use super::{
    absmax::{self, MAX_CODE},
    gate::Gate,
    norm,
    uninit::UninitChunk,
};

/// How a row becomes codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowEncoder<'a> {
    /// With a gate, rows hold its input in their first half and the up projection in their second.
    pub(crate) gate: Option<Gate>,
    /// Gains of an RMSNorm, and its ε.
    pub(crate) norm: Option<(&'a [f32], f32)>,
    /// Of a row, after the gate.
    pub(crate) width: usize,
}

/// Rows of codes, to be written.
pub(crate) struct EncodedRows<'a> {
    /// Of each row, padded.
    pub(crate) codes: &'a mut [i8],
    pub(crate) scales: &'a mut [f32],
    pub(crate) sums: &'a mut [i32],
    /// `1 / √(mean(x²) + ε)` of each row, where there is a norm.
    pub(crate) factors: &'a mut [f32],
}

impl EncodedRows<'_> {
    /// The same rows, reborrowed.
    pub(crate) fn reborrow(&mut self) -> EncodedRows<'_> {
        let EncodedRows { codes, scales, sums, factors } = self;
        EncodedRows { codes, scales, sums, factors }
    }
}

impl RowEncoder<'_> {
    /// Length of a row before the gate.
    pub(crate) fn row(&self) -> usize {
        self.width * if self.gate.is_some() { 2 } else { 1 }
    }

    /// Encodes rows.
    pub(crate) fn encode(&self, x: &[f32], to: EncodedRows<'_>) {
        let EncodedRows { codes, scales, sums, factors } = to;
        let stride = codes.len() / scales.len().max(1);
        let mut hidden = vec![0.0; self.width];
        let mut normed = vec![0.0; self.width];
        for (row, x) in x.chunks_exact(self.row()).enumerate() {
            let x = self.after_gate(x, &mut hidden);
            let x = match self.norm {
                Some((gains, eps)) => {
                    let factor = &mut factors[row..=row];
                    norm::normalize(x, gains, eps, &mut normed, factor);
                    &normed
                }
                None => x,
            };
            let codes = &mut codes[row * stride..][..self.width];
            scales[row] = absmax::scale(x, MAX_CODE);
            sums[row] = absmax::encode(x, scales[row], codes);
        }
    }

    fn after_gate<'a>(&self, x: &'a [f32], hidden: &'a mut [f32]) -> &'a [f32] {
        match self.gate {
            Some(gate) => {
                let (g, up) = x.split_at(self.width);
                gate.forward(g, up, hidden);
                hidden
            }
            None => x,
        }
    }

    /// The backward pass of the norm: replaces the gradients of its output by those of its input,
    /// and adds to those of the gains.
    pub(crate) fn norm_backward(
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
            let x = self.after_gate(x, &mut hidden);
            norm::backward(x, gains, factor, grad, for_gains);
        }
    }

    /// The gradients of rows before the gate, from those after it.
    pub(crate) fn gate_backward(
        &self,
        gate: Gate,
        x: &[f32],
        grad: &[f32],
        dx: UninitChunk<'_, f32>,
    ) {
        let rows = x.chunks_exact(self.row()).zip(grad.chunks_exact(self.width));
        for ((x, grad), dx) in rows.zip(dx.chunks(self.row())) {
            let (g, up) = x.split_at(self.width);
            let (dg, du) = dx.zeroed().split_at_mut(self.width);
            du.copy_from_slice(grad);
            gate.backward([g, up], dg, du);
        }
    }
}
