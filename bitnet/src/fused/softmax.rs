use burn::tensor::{Tensor, backend::Backend};
use burn_flex::FlexTensor;
use multiversion::multiversion;

use super::{
    kernel::{Kernel, as_matrix, compute, primitive, tensor, values},
    rows::{exp, for_pieces, maximum, sum},
};

/// Softmax over the keys that a query may look at; the others get zero.
///
/// # Shapes
/// - `scores`: `[batch, kv_heads, group · seq, start + seq]`; the output has the same shape. The
///   query in row `i` stands at position `start + i mod seq`.
pub(crate) fn causal_softmax<B: Backend>(
    scores: Tensor<B, 4>,
    seq: usize,
    start: usize,
) -> Tensor<B, 4> {
    compute::<B, _, 1, 4>(CausalSoftmax { seq, start }, [primitive(scores)])
}

#[derive(Debug, Clone)]
struct CausalSoftmax {
    seq: usize,
    start: usize,
}

impl CausalSoftmax {
    /// The number of keys that the query of a row sees.
    fn visible(&self, row: usize) -> usize {
        self.start + row % self.seq + 1
    }
}

impl Kernel<1> for CausalSoftmax {
    /// The output.
    type Saved = FlexTensor;

    fn forward(&self, [scores]: [FlexTensor; 1]) -> (FlexTensor, FlexTensor) {
        let (rows, width) = as_matrix(&scores);
        let from = values(&scores);
        let mut y = vec![0.0; from.len()];
        for_pieces(y.len(), rows, [(&mut y, width)], |first, [y]| {
            for (i, y) in y.chunks_exact_mut(width).enumerate() {
                let visible = self.visible(first + i);
                softmax(&from[(first + i) * width..][..visible], &mut y[..visible]);
            }
        });
        let y = tensor(y, scores.layout().shape().clone());
        (y.clone(), y)
    }

    fn backward(&self, y: FlexTensor, grad: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let (rows, width) = as_matrix(&y);
        let (from, grad) = (values(&y), values(&grad));
        let mut dx = vec![0.0; from.len()];
        for_pieces(2 * dx.len(), rows, [(&mut dx, width)], |first, [dx]| {
            for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                let visible = self.visible(first + i);
                let range = (first + i) * width..(first + i) * width + visible;
                pull_back(&from[range.clone()], &grad[range], &mut dx[..visible]);
            }
        });
        [Some(tensor(dx, y.layout().shape().clone()))]
    }
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn softmax(x: &[f32], y: &mut [f32]) {
    let highest = maximum(x);
    for (y, x) in y.iter_mut().zip(x) {
        *y = exp(x - highest);
    }
    let factor = 1.0 / sum(y.len(), |i| y[i]);
    for y in y {
        *y *= factor;
    }
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn pull_back(y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let mean = sum(y.len().min(dy.len()), |i| y[i] * dy[i]);
    for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
        *dx = y * (dy - mean);
    }
}
