//! Matrices against an integer reference, on all instructions of this processor.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Random weights of `groups` groups of `size` inputs.
fn weights(
    rng: &mut ChaCha8Rng,
    (groups, size): (usize, usize),
    outputs: usize,
    one_scale: bool,
) -> TernaryWeights {
    let inputs = groups * size;
    let scales = if one_scale { groups } else { groups * outputs };
    TernaryWeights {
        inputs,
        outputs,
        groups,
        codes: (0..inputs * outputs).map(|_| rng.random_range(-1..=1)).collect(),
        scales: (0..scales).map(|_| rng.random_range(0.01..2.0)).collect(),
        bias: rng.random::<bool>().then(|| (0..outputs).map(|_| rng.random()).collect()),
    }
}

/// The product, one multiplication after the other, in the order of rounding that is promised: an
/// exact sum for each group, one multiplication, groups added in order, then the bias.
fn reference(parts: &[&TernaryWeights], x: &[f32]) -> Vec<f32> {
    let mut y = Vec::new();
    for x in x.chunks(parts[0].inputs) {
        let top = x.iter().fold(1e-5f32, |top, x| top.max(x.abs()));
        let scale = 1.0 / top * 127.0;
        let codes: Vec<i64> = x.iter().map(|x| (x * scale).round_ties_even() as i64).collect();
        let biased = parts.iter().any(|part| part.bias.is_some());
        for part in parts {
            let size = part.inputs / part.groups;
            for output in 0..part.outputs {
                let mut sum = 0.0;
                for group in 0..part.groups {
                    let product: i64 = (group * size..(group + 1) * size)
                        .map(|i| codes[i] * i64::from(part.codes[i * part.outputs + output]))
                        .sum();
                    let index = if part.scales.len() == part.groups { 0 } else { part.outputs - 1 };
                    let weight_scale = part.scales[group * (index + 1) + output.min(index)];
                    sum += product as f32 * (weight_scale * (1.0 / scale));
                }
                if biased {
                    sum += part.bias.as_ref().map_or(0.0, |bias| bias[output]);
                }
                y.push(sum);
            }
        }
    }
    y
}

proptest! {
    #[test]
    fn products_are_exact(
        shape in (1usize..4, 1usize..60), outputs in prop::collection::vec(1usize..80, 1..4),
        tokens in 1usize..20, seed: u64, one_scale: bool, magnitude in -6i32..6,
    ) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let parts: Vec<TernaryWeights> =
            outputs.iter().map(|&outputs| weights(rng, shape, outputs, one_scale)).collect();
        let parts: Vec<&TernaryWeights> = parts.iter().collect();
        let matrix = TernaryMatrix::pack(&parts);
        let inputs = matrix.inputs();
        let x: Vec<f32> = (0..tokens * inputs)
            .map(|_| rng.random_range(-1.0f32..1.0).powi(3) * 10f32.powi(magnitude))
            .collect();
        let expected = reference(&parts, &x);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let mut activations = Activations::with_isa(isa, inputs, matrix.groups()).unwrap();
            let mut y = vec![f32::NAN; tokens * matrix.outputs()];
            activations.quantize(&x);
            matrix.multiply(&activations, &mut y);
            prop_assert_eq!(&y, &expected, "{}", isa);
            // Quantised after others, and token by token, the same.
            for (x, y) in x.chunks(inputs).zip(y.chunks(matrix.outputs())) {
                activations.quantize(x);
                let mut alone = vec![f32::NAN; y.len()];
                matrix.multiply(&activations, &mut alone);
                prop_assert_eq!(&alone[..], y, "{} alone", isa);
            }
        }
    }

    #[test]
    fn codes_and_scales_read_back(
        shape in (1usize..4, 1usize..60), outputs in 1usize..80, seed: u64,
    ) {
        let weights = weights(&mut ChaCha8Rng::seed_from_u64(seed), shape, outputs, false);
        let matrix = TernaryMatrix::pack(&[&weights]);
        prop_assert_eq!(matrix.codes(), weights.codes);
        prop_assert_eq!(matrix.scales(), weights.scales);
    }

    #[test]
    fn tables_are_their_rows(
        rows in 1usize..100, dim in 1usize..90, tokens in 1usize..5, seed: u64,
    ) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let weights: Vec<f32> = (0..rows * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
        let x: Vec<f32> = (0..tokens * dim).map(|_| rng.random_range(-3.0..3.0)).collect();
        for format in TableFormat::ALL {
            let table = EmbeddingTable::new(&weights, dim, format);
            let mut row = vec![0.0; dim];
            let mut stored = Vec::new();
            for index in 0..rows {
                table.row(index, &mut row);
                stored.extend_from_slice(&row);
            }
            for (row, exact) in stored.chunks(dim).zip(weights.chunks(dim)) {
                let top = exact.iter().fold(0.0f32, |top, w| top.max(w.abs()));
                let tolerance = match format {
                    TableFormat::F32 => 0.0,
                    TableFormat::Bf16 => top / 256.0,
                    TableFormat::Int8 => top / 127.0 * 0.501,
                };
                for (row, exact) in row.iter().zip(exact) {
                    prop_assert!((row - exact).abs() <= tolerance, "{format:?} {row} {exact}");
                }
            }
            let mut y = vec![f32::NAN; tokens * rows];
            table.multiply(&x, &mut y);
            for (x, y) in x.chunks(dim).zip(y.chunks(rows)) {
                for (row, y) in stored.chunks(dim).zip(y) {
                    let products = row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
                    let exact: f64 = products.sum();
                    // 3 / 65,024 an input is what 16 bits lose.
                    let tolerance = 5e-5 * dim as f64 + 1e-4;
                    prop_assert!((f64::from(*y) - exact).abs() < tolerance, "{format:?}");
                }
            }
        }
    }
}

/// More inputs than are unpacked at a time, and more tokens than they are unpacked for.
#[test]
fn parts_of_large_products_add_up() {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    for (shape, tokens) in [((1, 1100), 9), ((2, 600), 40), ((1, 512), 96), ((1, 530), 201)] {
        let weights = weights(rng, shape, 40, false);
        let matrix = TernaryMatrix::pack(&[&weights]);
        let inputs = weights.inputs;
        let x: Vec<f32> = (0..tokens * inputs).map(|_| rng.random_range(-1.0..1.0)).collect();
        let expected = reference(&[&weights], &x);
        for isa in Isa::ALL {
            let Some(mut activations) = Activations::with_isa(isa, inputs, shape.0) else {
                continue;
            };
            activations.quantize(&x);
            let mut y = vec![f32::NAN; tokens * 40];
            matrix.multiply(&activations, &mut y);
            assert_eq!(y, expected, "{isa}, {tokens} tokens");
        }
    }
}

#[test]
fn zeros_and_extremes() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let weights = TernaryWeights { bias: None, ..weights(rng, (1, 50), 33, true) };
    let matrix = TernaryMatrix::pack(&[&weights]);
    for isa in Isa::ALL {
        let Some(mut x) = Activations::with_isa(isa, 50, 1) else { continue };
        let mut y = vec![f32::NAN; 33];
        for value in [0.0, 1e-30, 1e30, -1e30, f32::MAX] {
            x.quantize(&[value; 50]);
            matrix.multiply(&x, &mut y);
            assert_eq!(y, reference(&[&weights], &[value; 50]), "{isa} {value}");
        }
        // What is not finite shows in the product.
        for value in [f32::NAN, f32::INFINITY] {
            let mut inputs = [1.0; 50];
            inputs[7] = value;
            x.quantize(&inputs);
            matrix.multiply(&x, &mut y);
            assert!(y.iter().all(|y| !y.is_finite()), "{isa} {value} {y:?}");
        }
    }
}
