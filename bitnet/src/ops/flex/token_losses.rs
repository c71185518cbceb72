use burn::tensor::{Int, Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};

use super::tensor::{as_matrix, compute, tensor, values};
use crate::{
    cpu::{
        cross_entropy::{log_sum_exp, scaled_softmax},
        parallel::for_row_blocks,
        uninit::zeros,
    },
    ops::autodiff::{DifferentiableOp, primitive},
};

/// `−log p(target)` of each row.
///
/// # Shapes
/// - `logits`: `[tokens, vocab]`
/// - `targets`: `[tokens]`
/// - output: `[tokens]`
pub(in crate::ops) fn token_losses<B: Backend>(
    logits: Tensor<B, 2>,
    targets: Tensor<B, 1, Int>,
) -> Tensor<B, 1> {
    let targets = targets.into_data().iter::<i64>().map(|target| target as usize).collect();
    compute::<B, _, 1, 1>(TokenLosses { targets }, [primitive(logits)])
}

#[derive(Debug, Clone)]
struct TokenLosses {
    targets: Vec<usize>,
}

/// The logits, and `log Σ exp` of each row.
type Saved = (FlexTensor, Vec<f32>);

impl DifferentiableOp<Flex, 1> for TokenLosses {
    type Saved = Saved;

    fn forward(&self, [logits]: [FlexTensor; 1]) -> (FlexTensor, Saved) {
        let (rows, width) = as_matrix(&logits);
        let from = values(&logits);
        let mut losses = vec![0.0; rows];
        let mut totals = vec![0.0; rows];
        let outputs = [(losses.as_mut_slice(), 1), (totals.as_mut_slice(), 1)];
        for_row_blocks(from.len(), rows, outputs, |first, [losses, totals]| {
            for (i, (loss, total)) in losses.iter_mut().zip(totals).enumerate() {
                let row = &from[(first + i) * width..][..width];
                *total = log_sum_exp(row);
                *loss = *total - row[self.targets[first + i]];
            }
        });
        (tensor(losses, [rows]), (logits, totals))
    }

    fn backward(
        &self,
        (logits, totals): Saved,
        grad: FlexTensor,
        _: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        let (rows, width) = as_matrix(&logits);
        let (from, grad) = (values(&logits), values(&grad));
        let mut dx = zeros(from.len());
        for_row_blocks(dx.len(), rows, [(&mut dx, width)], |first, [dx]| {
            for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                let row = first + i;
                let grad = grad[row];
                scaled_softmax(&from[row * width..][..width], totals[row], grad, dx);
                dx[self.targets[row]] -= grad;
            }
        });
        [Some(tensor(dx, [rows, width]))]
    }
}
