//! RMSNorm with gains.

use burn::tensor::DType;
use burn_cubecl::{BoolElement, CubeRuntime, tensor::CubeTensor};

use super::{
    gate::CubeGate,
    rows::RowsOp,
    tensors::{Cube, reshaped},
};
use crate::ops::autodiff::DifferentiableOp;

/// RMSNorm with gains, over the last dimension.
///
/// # Shapes
/// - `x`: `[..., features]`; the output has the same shape
/// - `gains`: `[features]`
#[derive(Debug, Clone, Copy)]
pub(crate) struct RmsNorm {
    pub(crate) eps: f64,
}

#[derive(Debug, Clone)]
pub(crate) struct Saved<R: CubeRuntime> {
    x: CubeTensor<R>,
    gains: CubeTensor<R>,
    factors: CubeTensor<R>,
}

impl<R: CubeRuntime, BT: BoolElement> DifferentiableOp<Cube<R, BT>, 2> for RmsNorm {
    type Saved = Saved<R>;

    fn forward(&self, [x, gains]: [CubeTensor<R>; 2]) -> (CubeTensor<R>, Saved<R>) {
        let encoded = self.rows().forward(&x, Some(&gains), false, DType::F32);
        let y = reshaped(&encoded.rows, x.meta.shape().clone());
        (y, Saved { x, gains, factors: encoded.factors })
    }

    fn backward(
        &self,
        Saved { x, gains, factors }: Saved<R>,
        grad: CubeTensor<R>,
        wanted: [bool; 2],
    ) -> [Option<CubeTensor<R>>; 2] {
        let (dx, for_gains) = self.rows().backward(&grad, &x, Some(&gains), &factors);
        [Some(dx).filter(|_| wanted[0]), for_gains.filter(|_| wanted[1])]
    }
}

impl RmsNorm {
    fn rows(&self) -> RowsOp {
        RowsOp { gate: CubeGate::None, norm: Some(self.eps as f32) }
    }
}
