//! Quantised linears of one input: with the gate and the norm before them, and the sum after them.

use burn::tensor::DType;
use burn_cubecl::{BoolElement, CubeRuntime, kernel::slice, tensor::CubeTensor};

use super::{
    gate::CubeGate,
    gradient::scaled_both_ways,
    operand::Operand,
    product::{product, scaled_product, takes_terms},
    rows::{Encoded, RowsOp},
    tensors::{Cube, as_matrix, reshaped},
    weights::{self, Codes, CubeQuantizer},
};
use crate::ops::autodiff::DifferentiableOp;

/// `residual + quantise(norm(gate(x))) · [w̃₁ | w̃₂ | …]`, as flex computes it, too.
#[derive(Debug, Clone)]
pub(crate) struct QuantizedLinears {
    pub(crate) coding: CubeQuantizer,
    /// Whether gradients are rounded to bf16 for their products with codes, which are exact in it.
    /// Without it they are two terms of bf16 where the device has such products, which is 16 bits
    /// of mantissa; else products are in f32.
    pub(crate) bf16: bool,
    pub(crate) gate: CubeGate,
    /// The ε of an RMSNorm.
    pub(crate) norm: Option<f64>,
    /// Whether a residual is added.
    pub(crate) residual: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Saved<R: CubeRuntime> {
    x: CubeTensor<R>,
    gains: Option<CubeTensor<R>>,
    encoded: Encoded<R>,
    weights: Codes<R>,
    /// Outputs of each weight.
    widths: Vec<usize>,
}

impl<R, BT, const N: usize> DifferentiableOp<Cube<R, BT>, N> for QuantizedLinears
where
    R: CubeRuntime,
    BT: BoolElement,
{
    type Saved = Saved<R>;

    fn forward(&self, inputs: [CubeTensor<R>; N]) -> (CubeTensor<R>, Saved<R>) {
        self.compute(inputs.into())
    }

    fn backward(
        &self,
        saved: Saved<R>,
        grad: CubeTensor<R>,
        wanted: [bool; N],
    ) -> [Option<CubeTensor<R>>; N] {
        let mut all = self.gradients(saved, grad, &wanted).into_iter();
        std::array::from_fn(|_| all.next().flatten())
    }
}

impl QuantizedLinears {
    /// # Shapes
    /// - `inputs`, in this order:
    ///   - `x`: `[tokens, d_input]`, or with a gate `[tokens, 2 · d_input]`
    ///   - `gains`, if there is a norm: `[1, d_input]`
    ///   - `residual`, if there is one: `[tokens, outputs of all weights]`
    ///   - latent weights: `[d_input, outputs]`
    /// - output: `[tokens, outputs of all weights]`
    fn compute<R: CubeRuntime>(&self, inputs: Vec<CubeTensor<R>>) -> (CubeTensor<R>, Saved<R>) {
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("as many inputs as there must be");
        let x = next();
        let gains = self.norm.map(|_| next());
        let residual = self.residual.then(&mut next);
        let weights: Vec<_> = inputs.collect();
        let widths: Vec<usize> = weights.iter().map(|weight| as_matrix(weight)[1]).collect();

        let [rows, _] = as_matrix(&x);
        let [d_input, _] = as_matrix(&weights[0]);
        let outputs = widths.iter().sum();
        let dtype = if self.bf16 || takes_terms(&x, rows, [d_input, outputs]) {
            DType::BF16
        } else {
            DType::F32
        };
        let encoded = self.rows().forward(&x, gains.as_ref(), true, dtype);
        let weights = weights::encode(&weights, self.coding, dtype);
        let y = scaled_product(
            &Operand::plain(&encoded.rows),
            &Operand::plain(&weights.codes),
            [&encoded.inverse, &weights.scales],
            residual.as_ref(),
        );
        (y, Saved { x, gains, encoded, weights, widths })
    }

    /// Gradients of the inputs that are `wanted`.
    fn gradients<R: CubeRuntime>(
        &self,
        saved: Saved<R>,
        grad: CubeTensor<R>,
        wanted: &[bool],
    ) -> Vec<Option<CubeTensor<R>>> {
        let Saved { x, gains, encoded, weights, widths } = saved;
        let before = 1 + usize::from(self.norm.is_some());
        let first_weight = before + usize::from(self.residual);
        let dtype = encoded.rows.dtype;
        let terms = dtype == DType::BF16 && !self.bf16;
        let [by_column, by_row] =
            scaled_both_ways(&grad, &weights.scales, &encoded.inverse, dtype, terms);

        let mut all = vec![None; wanted.len()];
        if wanted[..before].contains(&true) {
            let after = product(&Operand::plain(&by_column), &Operand::transposed(&weights.codes));
            let factors = &encoded.factors;
            let (dx, for_gains) = self.rows().backward(&after, &x, gains.as_ref(), factors);
            all[0] = Some(dx);
            if let Some((gains, grad)) = gains.zip(for_gains) {
                all[1] = Some(reshaped(&grad, gains.meta.shape().clone()));
            }
        }
        if self.residual {
            all[before] = Some(grad);
        }
        if wanted[first_weight..].contains(&true) {
            let together = product(&Operand::transposed(&encoded.rows), &Operand::plain(&by_row));
            let [inputs, _] = as_matrix(&together);
            let mut column = 0;
            for (grad, &width) in all[first_weight..].iter_mut().zip(&widths) {
                *grad = Some(match widths.len() {
                    1 => together.clone(),
                    _ => slice(together.clone(), &[0..inputs, column..column + width]),
                });
                column += width;
            }
        }
        for (grad, wanted) in all.iter_mut().zip(wanted) {
            *grad = grad.take().filter(|_| *wanted);
        }
        all
    }

    fn rows(&self) -> RowsOp {
        RowsOp { gate: self.gate, norm: self.norm.map(|eps| eps as f32) }
    }
}
