//! Every kernel that this processor can run against the scalar one, and that against sums of 64
//! bits.

use half::bf16;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{layout::MAX_WEIGHT, table::MAX_ROWS_OF_TERNARY_GEMM, *};
use crate::cpu::gemm::int8::unpack;

/// Panels of `blocks` blocks and inputs for them: random ones, or as large as there are.
struct Case {
    blocks: Vec<Block>,
    x: Vec<i8>,
}

impl Case {
    fn new(seed: u64, blocks: usize, inputs: usize, extreme: bool, byte: fn(u8) -> u8) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut value = |extremes: [u8; 2]| match extreme {
            true => extremes[usize::from(rng.random::<bool>())],
            false => rng.random(),
        };
        Self {
            blocks: (0..blocks)
                .map(|_| Block(std::array::from_fn(|_| byte(value([0xff, 0x00])))))
                .collect(),
            x: (0..inputs).map(|_| value([0x80, 0x7f]).cast_signed()).collect(),
        }
    }

    /// Four codes 0, 1 or 2.
    fn ternary(byte: u8) -> u8 {
        (0..4).map(|i| ((byte >> (2 * i)) & 3).min(2) << (2 * i)).sum()
    }
}

/// `Σ code·x` of a row, modulo 2³².
fn ternary_sum(blocks: &[Block], x: &[i8], row: usize) -> i32 {
    let code = |input: usize| {
        let (block, input) = (&blocks[input / 16].0, input % 16);
        i64::from(block[4 * row + input % 4] >> (2 * (input / 4)) & 3)
    };
    (0..x.len()).map(|input| code(input) * i64::from(x[input])).sum::<i64>() as i32
}

fn check_ternary(blocks: usize, tokens: usize, seed: u64, extreme: bool) {
    let inputs = blocks * INPUTS_PER_TERNARY_BLOCK;
    let case = Case::new(seed, blocks, inputs * tokens, extreme, Case::ternary);
    let rows = || case.x.chunks(inputs.max(1));
    let mut expected = vec![[0; OUTPUTS_PER_PANEL]; tokens];
    for (x, expected) in rows().zip(&mut expected) {
        for (row, sum) in expected.iter_mut().enumerate() {
            *sum = ternary_sum(&case.blocks, x, row);
        }
    }
    let mut unpacked = vec![Block::default(); 4 * blocks];
    unpack(&case.blocks, &mut unpacked);
    for kernels in Kernels::all() {
        let mut out = vec![[-1; OUTPUTS_PER_PANEL]; tokens];
        kernels.gemm(&unpacked, Rows::new(&case.x, inputs), false, &mut out);
        assert_eq!(out, expected, "{} gemm", kernels.isa());
        for (x, expected) in case
            .x
            .chunks((inputs * MAX_ROWS_OF_TERNARY_GEMM).max(1))
            .zip(expected.chunks(MAX_ROWS_OF_TERNARY_GEMM))
        {
            let mut out = vec![[-1; OUTPUTS_PER_PANEL]; expected.len()];
            if kernels.ternary_gemm(&case.blocks, Rows::new(x, inputs), &mut out) {
                assert_eq!(out, expected, "{} gemm at two bits", kernels.isa());
            }
        }
        for (x, expected) in rows().zip(&expected) {
            let mut out = [-1; OUTPUTS_PER_PANEL];
            kernels.ternary_gemv(&case.blocks, x, &mut out);
            assert_eq!(&out, expected, "{} gemv", kernels.isa());
        }
    }
}

/// The largest weights and inputs there are, for longer than any sum of 16 bits lasts; and inputs
/// that are no whole block.
fn check_gemm(words: usize, rows: usize, seed: u64, extreme: bool) {
    let inputs = words * INPUTS_PER_INT8_BLOCK;
    let stride = inputs + 4;
    let case = Case::new(seed, words, stride * rows, extreme, |byte| byte & MAX_WEIGHT);
    let sum = |row: usize, output: usize| {
        let weight = |i: usize| i64::from(case.blocks[i / 4].0[4 * output + i % 4]);
        (0..inputs).map(|i| weight(i) * i64::from(case.x[row * stride + i])).sum::<i64>() as i32
    };
    let expected: Vec<[i32; OUTPUTS_PER_PANEL]> =
        (0..rows).map(|row| std::array::from_fn(|output| sum(row, output))).collect();
    for kernels in Kernels::all() {
        let mut out = vec![[-1; OUTPUTS_PER_PANEL]; rows];
        let codes = Rows::new(&case.x, stride);
        kernels.gemm(&case.blocks, codes, false, &mut out);
        assert_eq!(out, expected, "{}", kernels.isa());
        // In two parts, the second added to the first.
        let (first, second) = case.blocks.split_at(words / 3);
        out.fill([-1; OUTPUTS_PER_PANEL]);
        kernels.gemm(first, codes, false, &mut out);
        kernels.gemm(second, codes.skip(first.len() * INPUTS_PER_INT8_BLOCK), true, &mut out);
        assert_eq!(out, expected, "{} in parts", kernels.isa());
    }
}

fn check_int8(blocks: usize, seed: u64, extreme: bool) {
    let inputs = blocks * INPUTS_PER_INT8_BLOCK;
    let case = Case::new(seed, blocks, 2 * inputs, extreme, |byte| byte);
    let halves = [&case.x[..inputs], &case.x[inputs..]];
    let sum = |half: usize, row: usize| {
        let products = (0..inputs)
            .map(|i| i64::from(case.blocks[i / 4].0[4 * row + i % 4]) * i64::from(halves[half][i]));
        i32::try_from(products.sum::<i64>()).expect("a sum that fits")
    };
    let expected: [[i32; OUTPUTS_PER_PANEL]; 2] =
        std::array::from_fn(|half| std::array::from_fn(|row| sum(half, row)));
    for kernels in Kernels::all() {
        let mut out = [[-1; OUTPUTS_PER_PANEL]; 2];
        kernels.int8_gemv(&case.blocks, halves, &mut out);
        assert_eq!(out, expected, "{}", kernels.isa());
    }
}

proptest! {
    #[test]
    fn ternary_sums_are_exact(
        blocks in 0usize..70, tokens in 1usize..=TOKENS_PER_TILE, seed: u64, extreme: bool,
    ) {
        check_ternary(blocks, tokens, seed, extreme);
    }

    #[test]
    fn sums_of_small_weights_are_exact(
        words in 0usize..150, rows in 1usize..=TOKENS_PER_TILE, seed: u64, extreme: bool,
    ) {
        check_gemm(words, rows, seed, extreme);
    }

    #[test]
    fn int8_sums_are_exact(blocks in 0usize..200, seed: u64, extreme: bool) {
        check_int8(blocks, seed, extreme);
    }

    #[test]
    fn float_loops_agree_to_the_bit(
        x in prop::collection::vec(-1e3f32..1e3, 0..3000),
        dim in 1usize..70, gap in 0usize..9, queries in 1usize..=QUERIES_PER_PASS, seed: u64,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let y: Vec<f32> = x.iter().map(|_| rng.random::<f32>() - 0.5).collect();
        let halves: Vec<bf16> = y.iter().copied().map(bf16::from_f32).collect();
        // Keys stand in panels of 32 by `dim + gap` features, values as they are.
        let panels = &x.as_chunks::<KEYS_PER_PANEL>().0;
        let panels = &panels[..panels.len() / (dim + gap) * (dim + gap)];
        let count = panels.len() / (dim + gap) * KEYS_PER_PANEL;
        let vectors: Vec<Vec<f32>> =
            (1..=queries).map(|q| (0..dim).map(|i| (q * i % 7) as f32 / 8.0).collect()).collect();
        let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        let stride = KEYS_PER_PANEL * dim + gap;
        let values = &y[..y.len() / stride * stride];
        let shown = values.len() / stride * KEYS_PER_PANEL;
        let results = |kernels: &Kernels| {
            let mut scores = vec![0.0; queries * count];
            kernels.scores(&vectors, panels, dim + gap, &mut scores);
            let mut weights: Vec<f32> = x.iter().take(50).map(|x| x / 1e3).collect();
            let sum = kernels.softmax(&mut weights);
            let rows: Vec<f32> = (0..queries * shown)
                .map(|at| weights.get(at % 47).copied().unwrap_or_default())
                .collect();
            let summed = |weighted_sum: &dyn Fn(&mut [&mut [f32]])| {
                let mut summed = vec![vec![1.0; dim]; queries];
                let mut out: Vec<&mut [f32]> = summed.iter_mut().map(Vec::as_mut_slice).collect();
                weighted_sum(&mut out);
                summed
            };
            let floats = summed(&|out| kernels.weighted_sum(&rows, values, stride, out));
            // Bytes are floats: the loops over those are the reference.
            let byte = |x: f32| (x / 8.0) as i8;
            let bytes: Vec<_> = panels.iter().map(|panel| panel.map(byte)).collect();
            let wide: Vec<_> = bytes.iter().map(|panel| panel.map(f32::from)).collect();
            let mut both = [vec![0.0; queries * count], vec![0.0; queries * count]];
            kernels.scores_int8(&vectors, &bytes, dim + gap, &mut both[0]);
            kernels.scores(&vectors, &wide, dim + gap, &mut both[1]);
            assert_eq!(both[0], both[1]);
            let bytes: Vec<i8> = values.iter().map(|&y| byte(1e3 * y)).collect();
            let wide: Vec<f32> = bytes.iter().copied().map(f32::from).collect();
            assert_eq!(
                summed(&|out| kernels.weighted_sum_int8(&rows, &bytes, stride, out)),
                summed(&|out| kernels.weighted_sum(&rows, &wide, stride, out)),
            );
            let summed = (rows, floats);
            let dot = kernels.dot(&x, &y).to_bits();
            let half = kernels.dot_bf16(&x, &halves);
            (dot, half, (scores, weights, sum, summed))
        };
        let expected = results(&scalar::KERNELS);
        for kernels in Kernels::all() {
            prop_assert_eq!(results(kernels), expected.clone(), "{}", kernels.isa());
        }
        // And they are what their names say.
        let (_, half, (scores, weights, sum, summed)) = expected;
        let near = |a: f32, b: f64, tolerance| (f64::from(a) - b).abs() < tolerance;
        for (at, score) in scores.iter().enumerate() {
            let (query, at) = (vectors[at / count], at % count);
            let key = &panels[at / KEYS_PER_PANEL * (dim + gap)..][..dim];
            let products = key.iter().zip(query).map(|(lanes, x)| f64::from(lanes[at % KEYS_PER_PANEL] * x));
            prop_assert!(near(*score, products.sum(), 0.1));
        }
        let highest = x.iter().take(50).copied().fold(f32::NEG_INFINITY, f32::max);
        for (weight, x) in weights.iter().zip(&x) {
            let exact = (f64::from(x / 1e3) - f64::from(highest / 1e3)).exp();
            prop_assert!(near(*weight, exact, 3e-7), "{} {}", weight, exact);
        }
        prop_assert!(near(sum, weights.iter().map(|&w| f64::from(w)).sum(), 1e-4));
        let (rows, summed) = summed;
        for (summed, rows) in summed.iter().zip(rows.chunks(shown.max(1))) {
            for (i, summed) in summed.iter().enumerate() {
                let values = values.chunks(stride).flat_map(|part| part[..KEYS_PER_PANEL * dim].chunks(dim));
                let parts = values.zip(rows).map(|(value, weight)| f64::from(weight * value[i]));
                prop_assert!(near(*summed, parts.sum(), 1e-4));
            }
        }
        let exact: f64 = x.iter().zip(&halves).map(|(x, h)| f64::from(*x) * h.to_f64()).sum();
        prop_assert!(near(half, exact, 0.1));
        let exact: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        prop_assert!((f64::from(scalar::KERNELS.dot(&x, &y)) - exact).abs() < 0.1);
    }
}

/// More inputs than the AVX-512 kernel adds up at once, all at their limits: the products of the
/// codes that count 64 times would leave an `i32` if they were.
#[test]
fn no_sum_wraps_on_the_way() {
    let blocks = vec![Block([0xaa; 4 * OUTPUTS_PER_PANEL]); 40_000];
    let inputs = blocks.len() * INPUTS_PER_TERNARY_BLOCK;
    for x in [127, -128i8] {
        let expected = 2 * inputs as i32 * i32::from(x);
        for kernels in Kernels::all() {
            let mut out = [0; OUTPUTS_PER_PANEL];
            kernels.ternary_gemv(&blocks, &vec![x; inputs], &mut out);
            assert_eq!(out, [expected; OUTPUTS_PER_PANEL], "{}", kernels.isa());
        }
    }
    check_int8((1 << 16) / INPUTS_PER_INT8_BLOCK, 1, true);
}
