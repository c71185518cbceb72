//! Matrix products.

use burn::tensor::{DType, Shape, TensorMetadata};
use burn_cubecl::{
    CubeRuntime,
    kernel::matmul::{MatmulStrategy, matmul},
    tensor::CubeTensor,
};

use super::cuda;
use super::{
    gradient::finish,
    tensors::{empty, reshaped},
};

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
    fn view(&self) -> CubeTensor<R> {
        let mut view = reshaped(&self.tensor, Shape::from(self.stored()));
        if self.transposed {
            view.meta.swap(1, 2);
        }
        view
    }
}

/// `a · b`, in f32. Where the dimension that is summed over is twice as large in one of them, the
/// other is taken twice, which [`takes_terms`] has to be asked about.
///
/// # Shapes
/// - output: `[batch, rows, columns]`, without the batch where there is one matrix
pub(super) fn product<R: CubeRuntime>(a: &Operand<R>, b: &Operand<R>) -> CubeTensor<R> {
    if cuda::fits(a, b) {
        return cuda::multiply(a, b, None, None);
    }
    let ([batch, rows, _], [_, _, columns]) = (a.sizes(), b.sizes());
    let out = empty(&a.tensor, [batch, rows, columns], DType::F32);
    let out = matmul(a.view(), b.view(), Some(out), MatmulStrategy::default(), DType::F32)
        .expect("every device has a kernel for products");
    if batch == 1 { reshaped(&out, [rows, columns]) } else { out }
}

/// Whether products of codes with gradients in two terms of bf16, one behind the other, can be
/// computed: of `rows` tokens, with codes `[inputs, outputs]` of weights.
pub(super) fn takes_terms<R: CubeRuntime>(
    tensor: &CubeTensor<R>,
    rows: usize,
    [inputs, outputs]: [usize; 2],
) -> bool {
    cuda::is_supported(&tensor.client)
        && rows.is_multiple_of(64)
        && outputs.is_multiple_of(64)
        && inputs.is_multiple_of(8)
}

/// `residual + rows · (a · b) · columns` of two matrices.
///
/// # Shapes
/// - `rows`, `columns`: `[rows of a]`, `[columns of b]`
/// - `residual`: as the output
pub(super) fn scaled_product<R: CubeRuntime>(
    a: &Operand<R>,
    b: &Operand<R>,
    [rows, columns]: [&CubeTensor<R>; 2],
    residual: Option<&CubeTensor<R>>,
) -> CubeTensor<R> {
    if cuda::fits(a, b) {
        return cuda::multiply(a, b, Some([rows, columns]), residual);
    }
    let product = product(a, b);
    finish(&product, rows, columns, residual);
    product
}
