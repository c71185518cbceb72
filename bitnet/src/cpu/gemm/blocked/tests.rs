use half::bf16;
use proptest::prelude::*;

use super::*;
use crate::cpu::{
    gemm::{operands::VALUES_PER_BLOCK, range},
    isa::{self, Isa, Vectors},
    uninit::Uninit,
};

fn values(count: usize, seed: i32) -> Vec<f32> {
    let noise = |i: usize| (i as i32).wrapping_mul(1_103_515_245).wrapping_add(seed) >> 8;
    (0..count).map(|i| (noise(i) % 4001) as f32 / 1000.0).collect()
}

/// A value times a factor, of a row or column whose largest magnitude is then `highest`, as a word
/// holds it.
fn rounded<W: Word>(x: f32, factor: f32, highest: f32) -> f64 {
    f64::from(match W::LARGEST {
        Some(_) if highest == 0.0 => 0.0,
        Some(largest) => {
            (x * (factor * (largest / highest))).round_ties_even() * (highest / largest)
        }
        None if W::VALUES == 2 => bf16::from_f32(x * factor).to_f32(),
        None => x * factor,
    })
}

fn highest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |highest, x| x.abs().max(highest))
}

/// Whether this processor multiplies such words.
fn has<W: Word>() -> bool {
    match (W::LARGEST, W::VALUES) {
        (Some(_), _) => match isa::vectors() {
            Vectors::Avx512 => Isa::Avx512Vnni.is_available(),
            Vectors::Avx2 => true,
            Vectors::Portable => false,
        },
        (None, 2) => isa::has_bf16_products(),
        _ => true,
    }
}

/// Compares with sums of so many terms in 64 bits: each addition rounds by half a unit at most.
fn check(
    found: &[f32],
    columns: usize,
    terms: usize,
    expected: impl Fn(usize, usize) -> (f64, f64),
) {
    let tolerance = (terms + 1) as f64 * f64::from(f32::EPSILON) / 2.0;
    for (row, found) in found.chunks_exact(columns).enumerate() {
        for (column, &found) in found.iter().enumerate() {
            let (sum, magnitude) = expected(row, column);
            let off = (f64::from(found) - sum).abs();
            assert!(off <= tolerance * magnitude + 1e-30, "[{row}, {column}]: {found}, not {sum}");
        }
    }
}

/// The sum of some products, and of their magnitudes.
fn sums(products: impl Iterator<Item = f64>) -> (f64, f64) {
    products.fold((0.0, 0.0), |(sum, all), product| (sum + product, all + product.abs()))
}

/// What all kernels of such words come to, which is the same to the bit.
fn by_all_kernels<W: Word>(compute: impl Fn() -> Vec<f32>) -> Vec<f32> {
    let found = compute();
    for isa in [Isa::Avx2, Isa::Scalar] {
        let Some(other) = isa::limited(isa, || has::<W>().then(&compute)) else { continue };
        let same = found.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same && found.len() == other.len(), "{isa} differs");
    }
    found
}

fn computed<W: Word>(left: &Rows<W>, right: &Panels<W>) -> Vec<f32> {
    by_all_kernels::<W>(|| {
        let mut out = Uninit::new(left.rows * right.columns);
        for out in out.chunks(usize::MAX) {
            product(left, right, out);
        }
        out.finish()
    })
}

fn write_codes<W: Word>(row: &[f32], to: &mut [W::Value]) {
    W::round(row, 1.0, to);
}

fn a_gradient_times_transposed_codes_in<W: Word>(
    rows: usize,
    inner: [usize; 2],
    columns: usize,
    seed: i32,
) {
    if !has::<W>() {
        return;
    }
    let factors = [0.25, 3.0];
    let width = inner[0] + inner[1];
    let grad = values(rows * width, seed);
    let codes = inner.map(|inner| -> Vec<f32> {
        let values = values(columns * inner, seed ^ inner as i32);
        values.iter().map(|x| x.clamp(-1.0, 1.0).round()).collect()
    });
    let right = Panels::<W>::transposed(
        columns,
        &[0, 1].map(|i| (codes[i].as_slice(), inner[i], write_codes::<W>)),
    );
    let mut left = Rows::default();
    // Twice, as it is used again.
    left.fill(&values(rows * width, 3), &[(width, 1.0)]);
    left.fill(&grad, &[(inner[0], factors[0]), (inner[1], factors[1])]);
    let part = |k| if k < inner[0] { (0, k) } else { (1, k - inner[0]) };
    let scaled = |row: usize, k: usize| grad[row * width + k] * factors[part(k).0];
    let ranges: Vec<_> = (0..rows).map(|row| highest((0..width).map(|k| scaled(row, k)))).collect();
    check(&computed(&left, &right), columns, width, |row, column| {
        sums((0..width).map(|k| {
            let (i, at) = part(k);
            let code = codes[i][column * inner[i] + at];
            rounded::<W>(grad[row * width + k], factors[i], ranges[row]) * f64::from(code)
        }))
    });
}

fn transposed_codes_times_a_scaled_gradient_in<W: Word>(
    tokens: usize,
    width: usize,
    widths: [usize; 2],
    seed: i32,
) {
    if !has::<W>() {
        return;
    }
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
    let (mut left, size) = Columns::<W>::room(tokens, width);
    for (block, words) in left.chunks(size).enumerate() {
        let first = block * VALUES_PER_BLOCK;
        let last = tokens.min(first + VALUES_PER_BLOCK);
        let codes = &codes[first * stride..last * stride];
        W::transpose_codes(codes, stride, width, words.zeroed());
    }
    let (factors, back) = range::of_columns(W::LARGEST, &grad, &scales, columns);
    let (mut right, size) = Panels::<W>::room(tokens, columns);
    for (block, words) in right.chunks(size).enumerate() {
        let first = block * VALUES_PER_BLOCK;
        let last = tokens.min(first + VALUES_PER_BLOCK);
        let grad = &grad[first * columns..last * columns];
        let middle = (last - first) / 3 * 2 / 2 * 2;
        let words = words.zeroed();
        let (one, other) = grad.split_at(middle * columns);
        let scales = &scales[first..last];
        W::fill_panels(one, &scales[..middle], &factors, 0, words);
        W::fill_panels(other, &scales[middle..], &factors, middle / W::VALUES, words);
    }
    let left = Columns::new(left, tokens, width);
    let right = Panels::new(right, tokens, columns, back);
    let scaled = |t: usize, column: usize| grad[t * columns + column] * (1.0 / scales[t]);
    let ranges: Vec<_> =
        (0..columns).map(|column| highest((0..tokens).map(|t| scaled(t, column)))).collect();
    for (i, before) in [0, widths[0]].into_iter().enumerate() {
        let out = by_all_kernels::<W>(|| transposed_product(&left, &right, &widths).swap_remove(i));
        assert_eq!(out.len(), width * widths[i]);
        check(&out, widths[i].max(1), tokens, |row, column| {
            sums((0..tokens).map(|t| {
                let value = rounded::<W>(scaled(t, before + column), 1.0, ranges[before + column]);
                value * f64::from(codes[t * stride + row])
            }))
        });
    }
}

proptest! {
    #[test]
    fn a_gradient_times_transposed_codes(
        rows in 1_usize..40,
        inner in (1_usize..500, 1_usize..500),
        columns in 1_usize..50,
        seed in any::<i32>(),
    ) {
        // Two matrices side by side, the first of an even number of columns.
        let inner = [inner.0.next_multiple_of(2), inner.1];
        a_gradient_times_transposed_codes_in::<f32>(rows, inner, columns, seed);
        a_gradient_times_transposed_codes_in::<u32>(rows, inner, columns, seed);
        a_gradient_times_transposed_codes_in::<i32>(rows, inner, columns, seed);
    }

    #[test]
    fn transposed_codes_times_a_scaled_gradient(
        tokens in 1_usize..500,
        width in 1_usize..50,
        widths in (0_usize..3, 1_usize..300),
        seed in any::<i32>(),
    ) {
        let widths = [widths.0 * COLUMNS_PER_PANEL, widths.1];
        transposed_codes_times_a_scaled_gradient_in::<f32>(tokens, width, widths, seed);
        transposed_codes_times_a_scaled_gradient_in::<u32>(tokens, width, widths, seed);
        transposed_codes_times_a_scaled_gradient_in::<i32>(tokens, width, widths, seed);
    }
}

fn what_is_no_number_reaches_the_product_of<W: Word>() {
    if !has::<W>() {
        return;
    }
    let codes = [1.0, 0.0, -1.0];
    let right = Panels::<W>::transposed(1, &[(&codes, 3, write_codes::<W>)]);
    for bad in [f32::NAN, f32::INFINITY] {
        let mut left = Rows::default();
        left.fill(&[bad, 1.0, 1.0], &[(3, 1.0)]);
        assert!(!computed(&left, &right)[0].is_finite());
    }
}

#[test]
fn what_is_no_number_reaches_the_product() {
    what_is_no_number_reaches_the_product_of::<f32>();
    what_is_no_number_reaches_the_product_of::<u32>();
    what_is_no_number_reaches_the_product_of::<i32>();
}
