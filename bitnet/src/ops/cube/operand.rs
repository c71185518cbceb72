//! The operands of matrix products.

use burn::tensor::{Shape, TensorMetadata};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};

use super::tensors::reshaped;

/// A matrix, or a batch of matrices, contiguous.
#[derive(Debug, Clone)]
pub(super) struct Operand<R: CubeRuntime> {
    pub(super) tensor: CubeTensor<R>,
    /// Whether it is the transposed matrix that is multiplied.
    pub(super) transposed: bool,
}

impl<R: CubeRuntime> Operand<R> {
    /// As it is.
    pub(super) fn plain(tensor: &CubeTensor<R>) -> Self {
        Self { tensor: tensor.clone(), transposed: false }
    }

    /// Transposed.
    pub(super) fn transposed(tensor: &CubeTensor<R>) -> Self {
        Self { tensor: tensor.clone(), transposed: true }
    }

    /// Batch, rows and columns, as it is multiplied.
    pub(super) fn sizes(&self) -> [usize; 3] {
        let [batch, rows, columns] = self.stored();
        if self.transposed { [batch, columns, rows] } else { [batch, rows, columns] }
    }

    /// Batch, rows and columns, as it is stored.
    fn stored(&self) -> [usize; 3] {
        let shape = self.tensor.shape();
        let rank = shape.num_dims();
        let [rows, columns] = [shape[rank - 2], shape[rank - 1]];
        [shape.num_elements() / (rows * columns).max(1), rows, columns]
    }

    /// A tensor with the sizes that are multiplied.
    pub(super) fn view(&self) -> CubeTensor<R> {
        let mut view = reshaped(&self.tensor, Shape::from(self.stored()));
        if self.transposed {
            view.meta.swap(1, 2);
        }
        view
    }
}
