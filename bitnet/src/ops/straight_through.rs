use burn::tensor::{Tensor, backend::Backend};

/// Applies `quantize` in the forward pass and the identity in the backward pass
/// (straight-through estimator, BitNet b1, §2.2; b1.58 training tips, figure 5).
///
/// The result is **bit-exactly** `quantize(x)` for finite `x`, but for the sign of a zero. The
/// usual `x + (q − x).detach()` is not: it rounds twice, so that ternary weights come out with many
/// distinct values. Here the added term `x − x` is exactly zero, and only it carries a gradient.
///
/// # Shapes
/// - `x`: any; the output has the same shape.
pub fn straight_through<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    quantize: impl FnOnce(Tensor<B, D>) -> Tensor<B, D>,
) -> Tensor<B, D> {
    if !B::ad_enabled(&x.device()) {
        return quantize(x);
    }
    // `detach` alone would leave a leaf (a parameter) tracked.
    let constant = x.clone().detach().set_require_grad(false);
    quantize(constant.clone()) + (x - constant)
}
