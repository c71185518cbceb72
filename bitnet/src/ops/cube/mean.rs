//! The mean of a vector, added up in a fixed order.

use burn::tensor::ops::FloatTensorOps;
use burn_cubecl::{BoolElement, CubeRuntime, tensor::CubeTensor};

use super::{
    columns::sum_rows,
    tensors::{Cube, len, reshaped},
};
use crate::ops::autodiff::DifferentiableOp;

/// Elements that are added up beside each other.
const COLUMNS_OF_PARTIAL_SUMS: usize = 64;

/// `Σ x / n`, `[1]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mean;

impl<R: CubeRuntime, BT: BoolElement> DifferentiableOp<Cube<R, BT>, 1> for Mean {
    /// Number of elements.
    type Saved = usize;

    fn forward(&self, [x]: [CubeTensor<R>; 1]) -> (CubeTensor<R>, usize) {
        let count = len(&x);
        let width =
            if count.is_multiple_of(COLUMNS_OF_PARTIAL_SUMS) { COLUMNS_OF_PARTIAL_SUMS } else { 1 };
        let sums = sum_rows(&reshaped(&x, [count / width, width]));
        let sum = if width == 1 { sums } else { sum_rows(&reshaped(&sums, [width, 1])) };
        (Cube::<R, BT>::float_mul_scalar(sum, (1.0 / count as f32).into()), count)
    }

    fn backward(
        &self,
        count: usize,
        grad: CubeTensor<R>,
        _: [bool; 1],
    ) -> [Option<CubeTensor<R>>; 1] {
        let share = Cube::<R, BT>::float_mul_scalar(grad, (1.0 / count as f32).into());
        [Some(Cube::<R, BT>::float_expand(share, [count].into()))]
    }
}
