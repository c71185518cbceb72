//! The gradient of an embedding: rows of a gradient added up by token, in a fixed order.

use burn::tensor::{DType, ops::ModuleOps};
use burn_cubecl::{BoolElement, CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    columns::sum_rows,
    tensors::{Cube, as_matrix, cubes, elements, empty, len, reshaped, units},
};
use crate::ops::autodiff::DifferentiableOp;

/// Tokens of one cube, as far as memory for the partial sums goes.
const TOKENS_PER_CUBE: usize = 512;
/// Elements of all partial sums together.
const MAX_PARTIAL_ELEMENTS: usize = 1 << 25;

/// Rows of an embedding. The forward pass is Burn's, which is good; its gradient is this one's.
#[derive(Debug, Clone)]
pub(crate) struct Embedding<R: CubeRuntime> {
    /// `[batch, seq]`
    pub(crate) tokens: CubeTensor<R>,
}

impl<R: CubeRuntime, BT: BoolElement> DifferentiableOp<Cube<R, BT>, 1> for Embedding<R> {
    /// Rows of the embedding.
    type Saved = usize;

    fn forward(&self, [weight]: [CubeTensor<R>; 1]) -> (CubeTensor<R>, usize) {
        let [vocab, _] = as_matrix(&weight);
        (Cube::<R, BT>::embedding(weight, self.tokens.clone()), vocab)
    }

    fn backward(
        &self,
        vocab: usize,
        grad: CubeTensor<R>,
        _: [bool; 1],
    ) -> [Option<CubeTensor<R>>; 1] {
        [Some(embedding_gradient(&self.tokens, &grad, vocab))]
    }
}

/// Adds up the gradients of equal tokens.
///
/// # Shapes
/// - `tokens`: any; `grad`: `[..., dim]` of as many rows
/// - output: `[vocab, dim]`
fn embedding_gradient<R: CubeRuntime>(
    tokens: &CubeTensor<R>,
    grad: &CubeTensor<R>,
    vocab: usize,
) -> CubeTensor<R> {
    let count = len(tokens);
    let [_, dim] = as_matrix(grad);
    let parts =
        count.div_ceil(TOKENS_PER_CUBE).min(MAX_PARTIAL_ELEMENTS / (vocab * dim).max(1)).max(1);
    let share = count.div_ceil(parts);
    let partial = empty(grad, [parts, vocab, dim], DType::F32);
    let units = units(dim);
    // SAFETY: a cube reads its share of the tokens, and writes one row of its part.
    unsafe {
        add_by_token::launch_unchecked::<R>(
            &grad.client,
            cubes(parts * vocab),
            CubeDim::new_1d(units),
            elements(tokens),
            elements(grad),
            elements(&partial),
            count,
            share,
            parts,
            vocab,
            dim,
            units as usize,
        );
    }
    match parts {
        1 => reshaped(&partial, [vocab, dim]),
        _ => reshaped(&sum_rows(&reshaped(&partial, [parts, vocab * dim])), [vocab, dim]),
    }
}

#[cube(launch_unchecked)]
fn add_by_token(
    tokens: &Array<i32>,
    grad: &Array<f32>,
    partial: &mut Array<f32>,
    count: usize,
    share: usize,
    parts: usize,
    vocab: usize,
    dim: usize,
    #[comptime] units: usize,
) {
    let cube = CUBE_POS as usize;
    if cube >= parts * vocab {
        terminate!();
    }
    let token = (cube % vocab) as i32;
    let begin = cube / vocab * share;
    let end = min(begin + share, count);
    let mut column = UNIT_POS as usize;
    while column < dim {
        let mut sum = 0.0f32;
        for i in begin..end {
            if tokens[i] == token {
                sum += grad[i * dim + column];
            }
        }
        partial[cube * dim + column] = sum;
        column += units;
    }
}
