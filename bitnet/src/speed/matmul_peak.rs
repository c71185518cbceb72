//! How fast a device multiplies matrices: what the speed of a training is measured against.

use std::{
    thread,
    time::{Duration, Instant},
};

use burn::tensor::{Int, Tensor, backend::Backend};

use crate::{ops::matmul::matmul, precision::Precision};

/// Rows that the first product has.
const FIRST_ROWS: usize = 64;

/// The highest rate, in floating-point operations per second, at which the device multiplied
/// `[rows, inner]` by `[inner, columns]` for about `budget`, on `threads` threads at the same
/// time. A product is `2 · rows · inner · columns` operations.
///
/// It begins with few rows, and has more of them and then more products in a round for as long as
/// a round is short, so that slow devices do not take long and fast ones are kept busy. The first
/// product of a shape, for which a GPU compiles its kernel, does not count. Nothing random is
/// drawn: the state of the backend's generator is as before.
pub fn matmul_peak<B: Backend>(
    [rows, inner, columns]: [usize; 3],
    precision: Precision,
    threads: usize,
    budget: Duration,
    device: &B::Device,
) -> f64 {
    let right = operand::<B>([inner, columns], device);
    let left_of = |height| {
        let left = operand::<B>([height, inner], device);
        products(&left, &right, precision, 1);
        left
    };
    let (mut height, mut repeats, mut best) = (rows.min(FIRST_ROWS), 1, 0.0_f64);
    let mut left = left_of(height);
    let mut measured = Duration::ZERO;
    loop {
        let round = Instant::now();
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| products(&left, &right, precision, repeats));
            }
        });
        let round = round.elapsed();
        measured += round;
        let operations = 2.0
            * [height, inner, columns, repeats, threads].map(|n| n as f64).iter().product::<f64>();
        best = best.max(operations / round.as_secs_f64());
        if measured >= budget {
            return best;
        }
        if round < budget / 16 {
            if height < rows {
                height = (4 * height).min(rows);
                left = left_of(height);
            } else {
                repeats *= 2;
            }
        }
    }
}

/// Multiplies, and waits for the last result.
fn products<B: Backend>(
    left: &Tensor<B, 2>,
    right: &Tensor<B, 2>,
    precision: Precision,
    repeats: usize,
) {
    for last in (0..repeats).rev() {
        let product = matmul(precision, left.clone(), right.clone());
        if last == 0 {
            let _ = product.slice([0..1, 0..1]).into_data();
        }
    }
}

/// Small integers, which no kernel can skip.
fn operand<B: Backend>(shape: [usize; 2], device: &B::Device) -> Tensor<B, 2> {
    let count = (shape[0] * shape[1]) as i64;
    let numbers = Tensor::<B, 1, Int>::arange(0..count, device).remainder_scalar(7).sub_scalar(3);
    numbers.float().reshape(shape)
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_a_product_and_the_budget_is_kept() {
        let device = Default::default();
        let started = Instant::now();
        let budget = Duration::from_millis(100);
        let rate =
            matmul_peak::<burn_flex::Flex>([256, 128, 256], Precision::F32, 1, budget, &device);
        assert!(started.elapsed() >= budget && started.elapsed() < 40 * budget);
        // A processor does more than 10 million and less than 100 million million a second.
        assert!((1e7..1e14).contains(&rate), "{rate:e}");
    }
}
