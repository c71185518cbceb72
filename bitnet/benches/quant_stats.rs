//! What measuring the quantised layers costs, part by part, with the model of the quickstart:
//! `cargo bench --bench quant_stats`. Where inputs are not quantised there are no instruments of
//! theirs.

use bitnet::{
    BitNetTransformerConfig,
    quant::ActivationQuant,
    quant_stats::{Snapshot, measure},
};
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use criterion::{Criterion, criterion_group, criterion_main};

fn reading(criterion: &mut Criterion) {
    let device = Default::default();
    let mut config = BitNetTransformerConfig::new(256, 192, 4).with_heads(6).with_dim_head(32);
    config.ff_dim = 512;
    let model = config.init::<Flex>(&device).expect("a valid configuration");
    let window: Vec<i32> = (0..128).map(|at| at * 37 % 256).collect();
    let window = Tensor::<Flex, 2, Int>::from_data(TensorData::new(window, [1, 128]), &device);
    let before = Snapshot::of(&model);
    config.activation = ActivationQuant::None;
    let unquantized = config.init::<Flex>(&device).expect("a valid configuration");

    let mut group = criterion.benchmark_group("quant_stats");
    group.bench_function("codes", |b| b.iter(|| Snapshot::of(&model)));
    group.bench_function("forward pass", |b| b.iter(|| model.forward(window.clone())));
    group.bench_function("forward pass, inputs as they are", |b| {
        b.iter(|| unquantized.forward(window.clone()))
    });
    group.bench_function("all, inputs as they are", |b| {
        b.iter(|| measure(&unquantized, window.clone(), Some(&before)))
    });
    group.bench_function("all", |b| b.iter(|| measure(&model, window.clone(), Some(&before))));
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
