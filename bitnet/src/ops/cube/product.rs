//! Matrix products.

use burn::tensor::DType;
use burn_cubecl::{
    CubeRuntime,
    kernel::matmul::{MatmulStrategy, matmul},
    tensor::CubeTensor,
};

use super::{
    cuda,
    gradient::finish,
    operand::Operand,
    tensors::{empty, reshaped},
};

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

/// Whether products of codes with gradients in two terms of bf16, one after the other, can be
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
