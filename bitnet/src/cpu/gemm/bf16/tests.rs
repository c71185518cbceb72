use half::bf16;
use proptest::prelude::*;

use super::*;
use crate::cpu::{
    gemm::bf16_operands::{PAIRS_PER_BLOCK, exact, fill_columns, fill_panels},
    uninit::Uninit,
};

fn values(count: usize, seed: i32) -> Vec<f32> {
    let noise = |i: usize| (i as i32).wrapping_mul(1_103_515_245).wrapping_add(seed) >> 8;
    (0..count).map(|i| (noise(i) % 4001) as f32 / 1000.0).collect()
}

fn rounded(x: f32) -> f64 {
    f64::from(bf16::from_f32(x).to_f32())
}

/// Compares with sums in 64 bits.
fn check(found: &[f32], columns: usize, expected: impl Fn(usize, usize) -> (f64, f64)) {
    for (row, found) in found.chunks_exact(columns).enumerate() {
        for (column, &found) in found.iter().enumerate() {
            let (sum, magnitude) = expected(row, column);
            let off = (f64::from(found) - sum).abs();
            assert!(off <= 1e-6 * magnitude + 1e-30, "[{row}, {column}]: {found}, not {sum}");
        }
    }
}

/// The sum of some products, and of their magnitudes.
fn sums(products: impl Iterator<Item = f64>) -> (f64, f64) {
    products.fold((0.0, 0.0), |(sum, all), product| (sum + product, all + product.abs()))
}

fn computed(left: &Rows, right: &Panels) -> Vec<f32> {
    let mut out = Uninit::new(left.rows * right.columns);
    for out in out.chunks(usize::MAX) {
        product(left, right, out);
    }
    out.finish()
}

fn write_exactly(row: &[f32], to: &mut [u16]) {
    to.iter_mut().zip(row).for_each(|(to, &x)| *to = exact(x));
}

proptest! {
    #[test]
    fn a_gradient_times_transposed_codes(
        rows in 1_usize..40,
        inner in (1_usize..500, 1_usize..500),
        columns in 1_usize..50,
        seed in any::<i32>(),
    ) {
        prop_assume!(is_supported());
        // Two matrices side by side, the first of an even number of columns.
        let inner = [inner.0.next_multiple_of(2), inner.1];
        let factors = [0.25, 3.0];
        let width = inner[0] + inner[1];
        let grad = values(rows * width, seed);
        let codes = inner.map(|inner| -> Vec<f32> {
            let values = values(columns * inner, seed ^ inner as i32);
            values.iter().map(|x| x.clamp(-1.0, 1.0).round()).collect()
        });
        let right = Panels::transposed(
            columns,
            &[0, 1].map(|i| (codes[i].as_slice(), inner[i], write_exactly)),
        );
        let mut left = Rows::default();
        // Twice, as it is used again.
        left.fill(&values(rows * width, 3), &[(width, 1.0)]);
        left.fill(&grad, &[(inner[0], factors[0]), (inner[1], factors[1])]);
        check(&computed(&left, &right), columns, |row, column| {
            sums((0..width).map(|k| {
                let (i, at) = if k < inner[0] { (0, k) } else { (1, k - inner[0]) };
                let code = codes[i][column * inner[i] + at];
                rounded(grad[row * width + k] * factors[i]) * f64::from(code)
            }))
        });
    }

    #[test]
    fn transposed_codes_times_a_scaled_gradient(
        tokens in 1_usize..500,
        width in 1_usize..50,
        widths in (0_usize..3, 1_usize..300),
        seed in any::<i32>(),
    ) {
        prop_assume!(is_supported());
        let widths = [widths.0 * COLUMNS_PER_PANEL, widths.1];
        let columns = widths[0] + widths[1];
        let stride = width.next_multiple_of(4);
        let mut codes = vec![0; tokens * stride];
        for (token, codes) in codes.chunks_exact_mut(stride).enumerate() {
            for (i, code) in codes[..width].iter_mut().enumerate() {
                *code = ((token * 31 + i * 7 + seed as u8 as usize) % 255) as u8 as i8;
            }
        }
        let scales: Vec<f32> = (0..tokens).map(|token| 1.5 + token as f32).collect();
        let grad = values(tokens * columns, seed);
        let (mut left, size) = Columns::room(tokens, width);
        for (block, words) in left.chunks(size).enumerate() {
            let first = block * 2 * PAIRS_PER_BLOCK;
            let last = tokens.min(first + 2 * PAIRS_PER_BLOCK);
            let codes = &codes[first * stride..last * stride];
            fill_columns(codes, stride, width, words.zeroed());
        }
        let (mut right, size) = Panels::room(tokens, columns);
        for (block, words) in right.chunks(size).enumerate() {
            let first = block * 2 * PAIRS_PER_BLOCK;
            let last = tokens.min(first + 2 * PAIRS_PER_BLOCK);
            let grad = &grad[first * columns..last * columns];
            let middle = (last - first) / 3 * 2 / 2 * 2;
            let words = words.zeroed();
            let (one, other) = grad.split_at(middle * columns);
            let scales = &scales[first..last];
            fill_panels(one, columns, &scales[..middle], 0, words);
            fill_panels(other, columns, &scales[middle..], middle / 2, words);
        }
        let left = Columns::new(left, tokens, width);
        let right = Panels::new(right, tokens, columns);
        let outs = transposed_product(&left, &right, &widths);
        for (out, (width, before)) in outs.iter().zip([(widths[0], 0), (widths[1], widths[0])]) {
            prop_assert_eq!(out.len(), left.rows * width);
            check(out, width.max(1), |row, column| {
                sums((0..tokens).map(|t| {
                    let scaled = grad[t * columns + before + column] * (1.0 / scales[t]);
                    rounded(scaled) * f64::from(codes[t * stride + row])
                }))
            });
        }
    }
}

#[test]
fn what_is_no_number_reaches_the_product() {
    if !is_supported() {
        return;
    }
    let codes = [1.0, 0.0, -1.0];
    let right = Panels::transposed(1, &[(&codes, 3, write_exactly)]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut left = Rows::default();
        left.fill(&[bad, 1.0, 1.0], &[(3, 1.0)]);
        assert!(!computed(&left, &right)[0].is_finite());
    }
}
