use super::shapes::{matrices, matrix_shape};
use crate::{
    nn::BitNetTransformerConfig,
    packed::{Activations, MatrixShape},
};

/// What the blocks write between their products; made once for all of them.
pub(super) struct Workspace {
    /// Inputs of products: of `dim`, of all query heads, of `ff_dim`.
    pub(super) into_block: Activations,
    pub(super) from_heads: Activations,
    pub(super) from_hidden: Activations,
    /// Outputs of products.
    pub(super) projected: Vec<f32>,
    /// Attention's output before its projection.
    pub(super) attended: Vec<f32>,
}

impl Workspace {
    pub(super) fn new(config: &BitNetTransformerConfig, tokens: usize) -> Self {
        let shapes = matrices(config).map(|linears| matrix_shape(linears, config));
        let widest = shapes.iter().map(|shape| shape.outputs).max().unwrap_or_default();
        let [qkv, output, _, down] = shapes;
        let inputs = |MatrixShape { inputs, groups, .. }| Activations::new(inputs, groups);
        let attended = vec![0.0; tokens * output.inputs];
        Self {
            into_block: inputs(qkv),
            from_heads: inputs(output),
            from_hidden: inputs(down),
            projected: vec![0.0; tokens * widest],
            attended,
        }
    }

    /// Room for `count` outputs of a product, to be overwritten.
    pub(super) fn projected(projected: &mut [f32], count: usize) -> &mut [f32] {
        &mut projected[..count]
    }
}

/// Adds a block's output to the residual stream.
pub(super) fn add_to(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}
