//! The output head.

use std::marker::PhantomData;

use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};

use super::tensor::{as_matrix, compute, tensor, values};
use crate::{
    cpu::{
        gemm::{
            blocked,
            operands::{Columns, Panels, ROWS_PER_BAND, Rows},
            tile::ROWS_PER_TILE,
            word::Word,
        },
        isa,
        parallel::par_map,
        uninit::Uninit,
    },
    ops::autodiff::{DifferentiableOp, primitive},
    precision::Precision,
};

/// `x · w`. In bf16 the operands of all three products are rounded, and sums are in f32; without
/// instructions for that, and for a few rows, which are not worth the rounding of a weight, it is
/// computed in f32.
///
/// # Shapes
/// - `x`: `[tokens, d_input]`
/// - `weight`: `[d_input, d_output]`, or `[d_output, d_input]` if it is `transposed`
/// - output: `[tokens, d_output]`
pub(in crate::ops) fn output_head<B: Backend>(
    precision: Precision,
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    transposed: bool,
) -> Tensor<B, 2> {
    let [tokens, d_input] = x.dims();
    if tokens < ROWS_PER_TILE || d_input == 0 {
        return x.matmul(if transposed { weight.transpose() } else { weight });
    }
    let inputs = [x, weight].map(primitive);
    match precision == Precision::Bf16 && isa::has_bf16_products() {
        true => compute::<B, _, 2, 2>(Product::<u32>::new(transposed), inputs),
        false => compute::<B, _, 2, 2>(Product::<f32>::new(transposed), inputs),
    }
}

/// The product, of operands in such words.
#[derive(Debug, Clone)]
struct Product<W> {
    /// Whether rows of the weight are outputs.
    transposed: bool,
    words: PhantomData<W>,
}

impl<W: Word> Product<W> {
    fn new(transposed: bool) -> Self {
        Self { transposed, words: PhantomData }
    }

    /// `x · w`, or `x · wᵀ`.
    fn product(x: &FlexTensor, w: &FlexTensor, transposed: bool) -> FlexTensor {
        let ((rows, inner), (_, width)) = (as_matrix(x), as_matrix(w));
        let right = match transposed {
            true => Panels::<W>::round_transposed(values(w), width),
            false => Panels::round(values(w), width),
        };
        let columns = right.columns;
        let mut out = Uninit::new(rows * columns);
        let pieces = out
            .chunks(ROWS_PER_BAND * columns)
            .zip(values(x).chunks(ROWS_PER_BAND * inner))
            .collect();
        par_map(rows * (inner + columns), pieces, |_, (out, x)| {
            let mut left = Rows::default();
            left.fill(x, &[(inner, 1.0)]);
            blocked::product(&left, &right, out);
        });
        tensor(out.finish(), [rows, columns])
    }

    /// `aᵀ · b`.
    fn transposed_product(a: &FlexTensor, b: &FlexTensor) -> FlexTensor {
        let ((_, rows), (_, columns)) = (as_matrix(a), as_matrix(b));
        let left = Columns::<W>::round(values(a), rows);
        let right = Panels::round(values(b), columns);
        let out = blocked::transposed_product(&left, &right, &[columns]);
        tensor(out.into_iter().next().unwrap_or_default(), [rows, columns])
    }
}

impl<W: Word> DifferentiableOp<Flex, 2> for Product<W> {
    type Saved = [FlexTensor; 2];

    fn forward(&self, [x, w]: [FlexTensor; 2]) -> (FlexTensor, [FlexTensor; 2]) {
        (Self::product(&x, &w, self.transposed), [x, w])
    }

    fn backward(
        &self,
        [x, w]: [FlexTensor; 2],
        grad: FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let dx = wanted[0].then(|| Self::product(&grad, &w, !self.transposed));
        let dw = wanted[1].then(|| match self.transposed {
            true => Self::transposed_product(&grad, &x),
            false => Self::transposed_product(&x, &grad),
        });
        [dx, dw]
    }
}

#[cfg(test)]
mod tests {
    use burn::{backend::Autodiff, tensor::TensorData};
    use burn_flex::Flex;
    use half::bf16;

    use super::*;
    use crate::cpu::isa::Isa;

    type B = Autodiff<Flex>;

    /// Whole numbers over a power of two, and hence sums without rounding; not all are a bf16.
    fn noise(rows: usize, columns: usize, seed: usize) -> TensorData {
        let value = |i: usize| ((i * 7919 + seed) * 104_729 % 2003) as f32 / 256.0 - 4.0;
        TensorData::new((0..rows * columns).map(value).collect(), [rows, columns])
    }

    fn rounded(precision: Precision, data: &TensorData) -> Tensor<Flex, 2> {
        let round = |x: f32| match precision {
            Precision::F32 => x,
            Precision::Bf16 => bf16::from_f32(x).to_f32(),
        };
        let values: Vec<f32> = data.iter::<f32>().map(round).collect();
        Tensor::from_data(TensorData::new(values, data.shape.clone()), &Default::default())
    }

    fn close(found: Tensor<Flex, 2>, expected: Tensor<Flex, 2>) {
        let off: f32 = (found - expected.clone()).abs().max().into_scalar();
        let highest: f32 = expected.abs().max().into_scalar();
        assert!(off <= 1e-6 * highest, "{off} of {highest}");
    }

    #[test]
    fn all_three_products_are_those_of_rounded_operands() {
        if isa::has_bf16_products() {
            check(Precision::Bf16);
        }
        check(Precision::F32);
        for isa in [Isa::Avx2, Isa::Scalar] {
            isa::limited(isa, || check(Precision::F32));
        }
    }

    fn check(precision: Precision) {
        let device = Default::default();
        // Neither whole tiles nor an even number of anything; and more than one block.
        for (tokens, d_input, d_output) in [(13, 37, 51), (230, 205, 17), (ROWS_PER_TILE, 1, 1)] {
            for transposed in [false, true] {
                let [rows, columns] =
                    if transposed { [d_output, d_input] } else { [d_input, d_output] };
                let x = noise(tokens, d_input, 1);
                let w = noise(rows, columns, 2);
                let dy = noise(tokens, d_output, 3);
                let on_device =
                    |data: &TensorData| Tensor::<B, 2>::from_data(data.clone(), &device);
                let [tracked_x, tracked_w] = [&x, &w].map(|data| on_device(data).require_grad());
                let y = output_head(precision, tracked_x.clone(), tracked_w.clone(), transposed);
                let grads = (y.clone() * on_device(&dy)).sum().backward();

                let [x, w, dy] = [&x, &w, &dy].map(|data| rounded(precision, data));
                let w = if transposed { w.transpose() } else { w };
                close(y.inner(), x.clone().matmul(w.clone()));
                let dx = tracked_x.grad(&grads).expect("tracked");
                close(dx, dy.clone().matmul(w.transpose()));
                let dw = tracked_w.grad(&grads).expect("tracked");
                let expected = x.transpose().matmul(dy);
                close(dw, if transposed { expected.transpose() } else { expected });
            }
        }
    }

    #[test]
    fn a_few_rows_are_in_full_precision() {
        let device = Default::default();
        let [x, w] = [noise(ROWS_PER_TILE - 1, 8, 1), noise(8, 3, 2)];
        let [x, w] = [x, w].map(|data| Tensor::<B, 2>::from_data(data, &device));
        let expected = x.clone().matmul(w.clone()).into_data();
        assert_eq!(output_head(Precision::Bf16, x.clone(), w.clone(), false).into_data(), expected);
        assert_eq!(output_head(Precision::Bf16, x, w.transpose(), true).into_data(), expected);
    }
}
