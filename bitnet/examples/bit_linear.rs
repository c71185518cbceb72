//! `BitLinear` in the place of a linear layer.
//!
//! Run with `cargo run --release --example bit_linear`.

use bitnet::BitLinearConfig;
use burn::tensor::{Distribution, Tensor, backend::Backend};

/// Generic over the backend: only `main` names one.
fn run<B: Backend>(device: &B::Device) {
    let x = Tensor::<B, 2>::random([10, 512], Distribution::Default, device);
    let layer = BitLinearConfig::new(512, 400).init::<B>(device);
    let y = layer.forward(x);
    println!("output: {:?}", y.dims());

    if let Some(weight) = layer.quantized_weight() {
        let scale = weight.scale.into_scalar();
        println!("weights are -1, 0 and 1, times {scale:?}");
        println!("the first of them: {}", weight.codes.slice([0..1, 0..1, 0..8]));
    }
}

fn main() {
    run::<burn_flex::Flex>(&Default::default());
}
