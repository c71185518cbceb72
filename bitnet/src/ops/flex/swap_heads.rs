use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};

use super::tensor::{compute, tensor, values};
use crate::{
    cpu::{parallel::for_row_blocks, uninit::zeros},
    ops::autodiff::{DifferentiableOp, primitive},
};

/// Swaps the two middle dimensions, into a contiguous tensor: brings heads before the sequence, or
/// back after it.
///
/// # Shapes
/// - `x`: `[batch, a, b, dim_head]`
/// - output: `[batch, b, a, dim_head]`
pub(in crate::ops) fn swap_heads<B: Backend>(x: Tensor<B, 4>) -> Tensor<B, 4> {
    let kernel = SwapHeads { shape: x.dims() };
    compute::<B, _, 1, 4>(kernel, [primitive(x)])
}

#[derive(Debug, Clone)]
struct SwapHeads {
    /// That of the input.
    shape: [usize; 4],
}

impl DifferentiableOp<Flex, 1> for SwapHeads {
    type Saved = ();

    fn forward(&self, [x]: [FlexTensor; 1]) -> (FlexTensor, ()) {
        (swap(&x, self.shape), ())
    }

    fn backward(&self, (): (), grad: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let [batch, a, b, width] = self.shape;
        [Some(swap(&grad, [batch, b, a, width]))]
    }
}

fn swap(x: &FlexTensor, [batch, a, b, width]: [usize; 4]) -> FlexTensor {
    let from = values(x);
    let mut to = zeros(from.len());
    for_row_blocks(to.len(), batch * a * b, [(&mut to, width)], |first, [to]| {
        for (i, to) in to.chunks_exact_mut(width).enumerate() {
            let row = first + i;
            let (stack, from_row) = (row / a, row % a);
            let (batch, column) = (stack / b, stack % b);
            to.copy_from_slice(&from[((batch * a + from_row) * b + column) * width..][..width]);
        }
    });
    tensor(to, [batch, b, a, width])
}
