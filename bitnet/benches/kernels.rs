//! The products of packed weights, on all instructions of this processor:
//! `cargo bench --bench kernels`.
//!
//! Generation is given in bytes of weights a second, beside plain reading of as many; prompts in
//! multiplications a second.

use std::hint::black_box;

use bitnet::packed::{
    Activations, EmbeddingTable, Isa, TableFormat, TernaryMatrix, TernaryWeights,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rayon::prelude::*;

/// Inputs and outputs of the largest layer of 2B4T, gate and up together.
const INPUTS: usize = 2560;
const OUTPUTS: usize = 2 * 6912;
/// Matrices one after the other, so that none is in the cache: as in a model.
const LAYERS: usize = 16;

fn matrix() -> TernaryMatrix {
    let codes = (0..INPUTS * OUTPUTS).map(|i| (i * 7919 % 1009 % 3) as i8 - 1).collect();
    TernaryMatrix::pack(&[&TernaryWeights {
        inputs: INPUTS,
        outputs: OUTPUTS,
        codes,
        scales: vec![0.02],
        groups: 1,
        bias: None,
    }])
}

fn activations(isa: Isa, tokens: usize) -> Option<Activations> {
    let mut x = Activations::with_isa(isa, INPUTS, 1)?;
    let values: Vec<f32> = (0..tokens * INPUTS).map(|i| (i as f32 * 0.37).sin()).collect();
    x.quantize(&values);
    Some(x)
}

fn generation(criterion: &mut Criterion) {
    // Not clones of one, which would share their codes.
    let layers: Vec<_> = (0..LAYERS).map(|_| matrix()).collect();
    let bytes = LAYERS * layers[0].bytes();
    let mut group = criterion.benchmark_group("one token");
    group.throughput(Throughput::Bytes(bytes as u64)).sample_size(20);
    let plain: Vec<u64> = (0..bytes as u64 / 8).collect();
    group.bench_function("plain reading", |b| {
        b.iter(|| plain.par_chunks(1 << 17).map(|x| x.iter().fold(0, |a, b| a | b)).max());
    });
    drop(plain);
    let mut y = vec![0.0; OUTPUTS];
    for isa in Isa::ALL {
        let Some(x) = activations(isa, 1) else { continue };
        group.bench_function(BenchmarkId::new("ternary", isa), |b| {
            b.iter(|| layers.iter().for_each(|layer| layer.multiply(&x, black_box(&mut y))));
        });
    }
    group.finish();
}

fn prompt(criterion: &mut Criterion) {
    const TOKENS: usize = 64;
    let matrix = matrix();
    let mut group = criterion.benchmark_group("64 tokens");
    group.throughput(Throughput::Elements((TOKENS * INPUTS * OUTPUTS) as u64)).sample_size(10);
    let mut y = vec![0.0; TOKENS * OUTPUTS];
    // The scalar kernel would take minutes.
    for isa in Isa::ALL.into_iter().filter(|isa| *isa != Isa::Scalar) {
        let Some(x) = activations(isa, TOKENS) else { continue };
        group.bench_function(BenchmarkId::new("ternary", isa), |b| {
            b.iter(|| matrix.multiply(&x, black_box(&mut y)));
        });
    }
    group.finish();
}

fn head(criterion: &mut Criterion) {
    const ROWS: usize = 32_002;
    let x: Vec<f32> = (0..INPUTS).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut y = vec![0.0; ROWS];
    let mut group = criterion.benchmark_group("output head");
    group.sample_size(20);
    for format in TableFormat::ALL {
        let table = EmbeddingTable::from_rows(ROWS, INPUTS, format, |row, out| {
            for (i, out) in out.iter_mut().enumerate() {
                *out = ((row * 31 + i) as f32).sin();
            }
        });
        group.throughput(Throughput::Bytes(table.bytes() as u64));
        group.bench_function(format.name(), |b| b.iter(|| table.multiply(&x, black_box(&mut y))));
    }
    group.finish();
}

criterion_group!(benches, generation, prompt, head);
criterion_main!(benches);
