use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};

use super::tensor::{as_matrix, compute, tensor, values};
use crate::{
    cpu::{
        norm,
        parallel::{for_row_blocks, sum_rows},
        uninit::zeros,
    },
    ops::autodiff::{DifferentiableOp, primitive},
};

/// RMSNorm with gains, over the last dimension.
///
/// # Shapes
/// - `x`: `[..., features]`; the output has the same shape
/// - `gains`: `[features]`
pub(in crate::ops) fn rms_norm<B: Backend, const D: usize>(
    x: Tensor<B, D>,
    gains: Tensor<B, 1>,
    eps: f64,
) -> Tensor<B, D> {
    compute::<B, _, 2, D>(RmsNorm { eps: eps as f32 }, [primitive(x), primitive(gains)])
}

#[derive(Debug, Clone)]
struct RmsNorm {
    eps: f32,
}

#[derive(Debug, Clone)]
struct Saved {
    x: FlexTensor,
    gains: FlexTensor,
    /// `1 / √(mean(x²) + ε)` of each row.
    factors: Vec<f32>,
}

impl DifferentiableOp<Flex, 2> for RmsNorm {
    type Saved = Saved;

    fn forward(&self, [x, gains]: [FlexTensor; 2]) -> (FlexTensor, Saved) {
        let (rows, width) = as_matrix(&x);
        let (from, g) = (values(&x), values(&gains));
        let mut y = zeros(rows * width);
        let mut factors = vec![0.0; rows];
        for_row_blocks(
            y.len(),
            rows,
            [(&mut y, width), (&mut factors, 1)],
            |first, [y, factors]| {
                norm::normalize(&from[first * width..], g, self.eps, y, factors);
            },
        );
        (tensor(y, x.layout().shape().clone()), Saved { x, gains, factors })
    }

    fn backward(
        &self,
        Saved { x, gains, factors }: Saved,
        mut grad: FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let (rows, width) = as_matrix(&x);
        let (from, g) = (values(&x), values(&gains));
        // In place, where nobody else has this gradient.
        let dx = grad.storage_mut();
        let partial = for_row_blocks(2 * from.len(), rows, [(dx, width)], |first, [dx]| {
            let range = first * width..first * width + dx.len();
            let mut for_gains = vec![0.0; width];
            norm::backward(&from[range], g, &factors[first..], dx, &mut for_gains);
            for_gains
        });
        let dg = wanted[1].then(|| tensor(sum_rows(partial, width), [width]));
        [wanted[0].then_some(grad), dg]
    }
}
