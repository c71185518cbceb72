use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};

use super::tensor::{as_matrix, compute, tensor, values};
use crate::{
    cpu::{gate::Gate, parallel::for_row_blocks, uninit::zeros},
    ops::autodiff::{DifferentiableOp, primitive},
};

/// `kind(gate) · up`.
///
/// # Shapes
/// - `gate`, `up`: `[tokens, features]`; the output has the same shape.
pub(in crate::ops) fn gated<B: Backend>(
    kind: Gate,
    gate: Tensor<B, 2>,
    up: Tensor<B, 2>,
) -> Tensor<B, 2> {
    compute::<B, _, 2, 2>(kind, [primitive(gate), primitive(up)])
}

impl DifferentiableOp<Flex, 2> for Gate {
    type Saved = [FlexTensor; 2];

    fn forward(&self, [gate, up]: [FlexTensor; 2]) -> (FlexTensor, [FlexTensor; 2]) {
        let (rows, width) = as_matrix(&gate);
        let (g, u) = (values(&gate), values(&up));
        let mut y = zeros(g.len());
        for_row_blocks(2 * g.len(), rows, [(&mut y, width)], |first, [y]| {
            let range = first * width..first * width + y.len();
            Gate::forward(*self, &g[range.clone()], &u[range], y);
        });
        (tensor(y, gate.layout().shape().clone()), [gate, up])
    }

    fn backward(
        &self,
        [gate, up]: [FlexTensor; 2],
        mut grad: FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let (rows, width) = as_matrix(&gate);
        let (g, u) = (values(&gate), values(&up));
        let mut dg = zeros(g.len());
        // In place, where nobody else has this gradient.
        let du = grad.storage_mut();
        for_row_blocks(3 * g.len(), rows, [(&mut dg, width), (du, width)], |first, [dg, du]| {
            let range = first * width..first * width + dg.len();
            Gate::backward(*self, [&g[range.clone()], &u[range]], dg, du);
        });
        let dg = wanted[0].then(|| tensor(dg, gate.layout().shape().clone()));
        [dg, wanted[1].then_some(grad)]
    }
}
