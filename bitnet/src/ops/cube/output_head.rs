//! The product with the weight of an output head, in bf16.

use burn::tensor::DType;
use burn_cubecl::{BoolElement, CubeRuntime, tensor::CubeTensor};

use super::{gradient::converted, operand::Operand, product::product, tensors::Cube};
use crate::ops::autodiff::DifferentiableOp;

/// `x · w`, with operands rounded to bf16 and sums in f32.
///
/// # Shapes
/// - `x`: `[tokens, d_input]`
/// - `weight`: `[d_input, d_output]`, or `[d_output, d_input]` if it is `transposed`
/// - output: `[tokens, d_output]`
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputHead {
    /// Whether `w` is `[d_output, d_input]`.
    pub(crate) transposed: bool,
}

impl<R: CubeRuntime, BT: BoolElement> DifferentiableOp<Cube<R, BT>, 2> for OutputHead {
    /// Both inputs, rounded.
    type Saved = [CubeTensor<R>; 2];

    fn forward(&self, inputs: [CubeTensor<R>; 2]) -> (CubeTensor<R>, [CubeTensor<R>; 2]) {
        let saved = inputs.each_ref().map(|input| converted(input, DType::BF16));
        let [x, weight] = &saved;
        (product(&Operand::plain(x), &self.weight(weight, false)), saved)
    }

    fn backward(
        &self,
        [x, weight]: [CubeTensor<R>; 2],
        grad: CubeTensor<R>,
        wanted: [bool; 2],
    ) -> [Option<CubeTensor<R>>; 2] {
        let grad = converted(&grad, DType::BF16);
        let for_x = wanted[0].then(|| product(&Operand::plain(&grad), &self.weight(&weight, true)));
        let for_weight = wanted[1].then(|| match self.transposed {
            true => product(&Operand::transposed(&grad), &Operand::plain(&x)),
            false => product(&Operand::transposed(&x), &Operand::plain(&grad)),
        });
        [for_x, for_weight]
    }
}

impl OutputHead {
    /// The weight as it is multiplied forward, or backward.
    fn weight<R: CubeRuntime>(&self, weight: &CubeTensor<R>, backward: bool) -> Operand<R> {
        Operand { tensor: weight.clone(), transposed: self.transposed != backward }
    }
}
