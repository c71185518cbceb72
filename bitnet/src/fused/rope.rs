use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};
use multiversion::multiversion;

use super::{
    fresh::zeros,
    kernel::{compute, primitive, tensor, values},
    rows::for_pieces,
};
use crate::ops::autodiff::DifferentiableOp;

/// Elements that are rotated at once.
const LANES: usize = 8;

/// Rotates the halves `(a, b)` of each head to `(a·cos − b·sin, b·cos + a·sin)`, and brings the
/// heads before the sequence.
///
/// # Shapes
/// - `x`: `[batch, seq, heads, dim_head]`
/// - `cos`, `sin`: `[1, seq · heads · dim_head]`; they get no gradient
/// - output: `[batch, heads, seq, dim_head]`
pub(crate) fn rotate<B: Backend>(
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
        for_pieces(2 * y.len(), batch * seq * heads, [(&mut y, width)], |first, [y]| {
            for (i, y) in y.chunks_exact_mut(width).enumerate() {
                let row = first + i;
                let (stack, position) = (row / seq, row % seq);
                let (batch, head) = (stack / heads, stack % heads);
                let table = (position * heads + head) * width;
                let x = &from[(batch * seq * heads + position * heads + head) * width..][..width];
                turn(x, [&c[table..], &s[table..]], width, 1.0, y);
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
        for_pieces(2 * dx.len(), batch * seq * heads, [(&mut dx, width)], |first, [dx]| {
            for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                let row = first + i;
                let (head, place) = (row % heads, row / heads);
                let (batch, position) = (place / seq, place % seq);
                let table = (position * heads + head) * width;
                let dy = &dy[((batch * heads + head) * seq + position) * width..][..width];
                turn(dy, [&c[table..], &s[table..]], width, -1.0, dx);
            }
        });
        [Some(tensor(dx, self.shape)), None, None]
    }
}

/// Rotates heads by the angles of their places, of which there are as many, or back where `sign`
/// is −1.
///
/// # Shapes
/// - `x`: `[places, width]`; `y` has the same shape, cosines and sines at least
#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn turn(x: &[f32], [cos, sin]: [&[f32]; 2], width: usize, sign: f32, y: &mut [f32]) {
    let half = width / 2;
    let angles = cos.chunks_exact(width).zip(sin.chunks_exact(width));
    let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width));
    for ((x, y), (cos, sin)) in rows.zip(angles) {
        let (a, b) = x.split_at(half);
        let (to_a, to_b) = y.split_at_mut(half);
        let (cos, sin) = (cos.split_at(half), sin.split_at(half));
        rotated([a, b, cos.0, sin.0], -sign, to_a);
        rotated([b, a, cos.1, sin.1], sign, to_b);
    }
}

/// `a·cos + sign·b·sin`
#[inline(always)]
fn rotated([a, b, cos, sin]: [&[f32]; 4], sign: f32, to: &mut [f32]) {
    let element = |a: f32, b: f32, cos: f32, sin: f32| a * cos + sign * b * sin;
    // Heads are narrow: a loop of any length would do most of it element by element.
    let (whole, rest) = to.as_chunks_mut::<LANES>();
    let parts = [a, b, cos, sin].map(|values| values.as_chunks::<LANES>().0);
    let [a_parts, b_parts, cos_parts, sin_parts] = parts.map(|values| &values[..whole.len()]);
    for (i, to) in whole.iter_mut().enumerate() {
        for lane in 0..LANES {
            let (a, b) = (a_parts[i][lane], b_parts[i][lane]);
            to[lane] = element(a, b, cos_parts[i][lane], sin_parts[i][lane]);
        }
    }
    let first = whole.len() * LANES;
    for (i, to) in (first..).zip(rest) {
        *to = element(a[i], b[i], cos[i], sin[i]);
    }
}
