use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};

use super::tensor::{compute, tensor, values};
use crate::{
    cpu::{parallel::for_row_blocks, rope, uninit::zeros},
    ops::autodiff::{DifferentiableOp, primitive},
};

/// Rotates the halves `(a, b)` of each head to `(a·cos − b·sin, b·cos + a·sin)`, and brings the
/// heads before the sequence.
///
/// # Shapes
/// - `x`: `[batch, seq, heads, dim_head]`
/// - `cos`, `sin`: `[1, seq · heads · dim_head]`; they get no gradient
/// - output: `[batch, heads, seq, dim_head]`
pub(in crate::ops) fn rotate<B: Backend>(
    x: Tensor<B, 4>,
    cos: Tensor<B, 2>,
    sin: Tensor<B, 2>,
) -> Tensor<B, 4> {
    let kernel = Rotate { shape: x.dims() };
    compute::<B, _, 3, 4>(kernel, [primitive(x), primitive(cos), primitive(sin)])
}

#[derive(Debug, Clone)]
struct Rotate {
    /// That of the input.
    shape: [usize; 4],
}

/// Cosines and sines.
type Saved = [FlexTensor; 2];

impl DifferentiableOp<Flex, 3> for Rotate {
    type Saved = Saved;

    fn forward(&self, [x, cos, sin]: [FlexTensor; 3]) -> (FlexTensor, Saved) {
        let [batch, seq, heads, width] = self.shape;
        let (from, c, s) = (values(&x), values(&cos), values(&sin));
        let mut y = zeros(from.len());
        for_row_blocks(2 * y.len(), batch * seq * heads, [(&mut y, width)], |first, [y]| {
            for (i, y) in y.chunks_exact_mut(width).enumerate() {
                let row = first + i;
                let (stack, position) = (row / seq, row % seq);
                let (batch, head) = (stack / heads, stack % heads);
                let table = (position * heads + head) * width;
                let x = &from[(batch * seq * heads + position * heads + head) * width..][..width];
                rope::rotate(x, [&c[table..], &s[table..]], width, 1.0, y);
            }
        });
        (tensor(y, [batch, heads, seq, width]), [cos, sin])
    }

    /// The rotation back: that of a rotation's transpose.
    fn backward(
        &self,
        [cos, sin]: Saved,
        grad: FlexTensor,
        _: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let [batch, seq, heads, width] = self.shape;
        let (dy, c, s) = (values(&grad), values(&cos), values(&sin));
        let mut dx = zeros(dy.len());
        for_row_blocks(2 * dx.len(), batch * seq * heads, [(&mut dx, width)], |first, [dx]| {
            for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                let row = first + i;
                let (head, place) = (row % heads, row / heads);
                let (batch, position) = (place / seq, place % seq);
                let table = (position * heads + head) * width;
                let dy = &dy[((batch * heads + head) * seq + position) * width..][..width];
                rope::rotate(dy, [&c[table..], &s[table..]], width, -1.0, dx);
            }
        });
        [Some(tensor(dx, self.shape)), None, None]
    }
}
