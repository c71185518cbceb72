//! Cross entropy of rows of logits, and its gradient, in one pass each.

use burn::tensor::DType;
use burn_cubecl::{BoolElement, CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    tensors::{Cube, as_matrix, cubes, elements, empty, units},
    units::{cube_max, cube_sum},
};
use crate::ops::autodiff::DifferentiableOp;

/// `−log p(target)` of each row.
///
/// # Shapes
/// - `logits`: `[tokens, vocab]`
/// - output: `[tokens]`
#[derive(Debug, Clone)]
pub(crate) struct TokenLosses<R: CubeRuntime> {
    /// `[tokens]`
    pub(crate) targets: CubeTensor<R>,
}

/// The logits, and `log Σ exp` of each row.
#[derive(Debug, Clone)]
pub(crate) struct Saved<R: CubeRuntime> {
    logits: CubeTensor<R>,
    totals: CubeTensor<R>,
}

impl<R: CubeRuntime, BT: BoolElement> DifferentiableOp<Cube<R, BT>, 1> for TokenLosses<R> {
    type Saved = Saved<R>;

    fn forward(&self, [logits]: [CubeTensor<R>; 1]) -> (CubeTensor<R>, Saved<R>) {
        let [rows, width] = as_matrix(&logits);
        let [losses, totals] = [(); 2].map(|()| empty(&logits, [rows], DType::F32));
        let units = units(width);
        // SAFETY: a cube reads one row and its target, and writes its numbers.
        unsafe {
            losses_of_rows::launch_unchecked::<R>(
                &logits.client,
                cubes(rows),
                CubeDim::new_1d(units),
                elements(&logits),
                elements(&self.targets),
                elements(&losses),
                elements(&totals),
                rows,
                width,
                units as usize,
            );
        }
        (losses, Saved { logits, totals })
    }

    fn backward(
        &self,
        Saved { logits, totals }: Saved<R>,
        grad: CubeTensor<R>,
        _: [bool; 1],
    ) -> [Option<CubeTensor<R>>; 1] {
        let [rows, width] = as_matrix(&logits);
        let to = empty(&logits, [rows, width], DType::F32);
        let units = units(width);
        // SAFETY: a cube reads one row and its numbers, and writes its gradient.
        unsafe {
            gradients_of_rows::launch_unchecked::<R>(
                &logits.client,
                cubes(rows),
                CubeDim::new_1d(units),
                elements(&logits),
                elements(&self.targets),
                elements(&totals),
                elements(&grad),
                elements(&to),
                rows,
                width,
                units as usize,
            );
        }
        [Some(to)]
    }
}

#[cube(launch_unchecked)]
fn losses_of_rows(
    logits: &Array<f32>,
    targets: &Array<i32>,
    losses: &mut Array<f32>,
    totals: &mut Array<f32>,
    rows: usize,
    width: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let first = row * width;
    let unit = UNIT_POS as usize;
    let mut highest = f32::min_value();
    let mut i = unit;
    while i < width {
        highest = max(highest, logits[first + i]);
        i += units;
    }
    let highest = cube_max(highest, units);
    let mut total = 0.0f32;
    let mut i = unit;
    while i < width {
        total += (logits[first + i] - highest).exp();
        i += units;
    }
    let total = cube_sum(total, units);
    if unit == 0 {
        let total = highest + total.ln();
        totals[row] = total;
        losses[row] = total - logits[first + targets[row] as usize];
    }
}

#[cube(launch_unchecked)]
fn gradients_of_rows(
    logits: &Array<f32>,
    targets: &Array<i32>,
    totals: &Array<f32>,
    grads: &Array<f32>,
    to: &mut Array<f32>,
    rows: usize,
    width: usize,
    #[comptime] units: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let first = row * width;
    let grad = grads[row];
    let total = totals[row];
    let target = targets[row] as usize;
    let mut i = UNIT_POS as usize;
    while i < width {
        let p = (logits[first + i] - total).exp();
        let own = f32::cast_from(i == target);
        to[first + i] = (p - own) * grad;
        i += units;
    }
}
