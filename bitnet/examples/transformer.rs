//! A transformer over random tokens of a vocabulary of 20,000.
//!
//! Run with `cargo run --release --example transformer`.

use bitnet::{BitNetTransformerConfig, ModelError};
use burn::tensor::{Distribution, Int, Tensor, backend::Backend};

fn run<B: Backend>(device: &B::Device) -> Result<(), ModelError> {
    let model = BitNetTransformerConfig::new(20_000, 512, 6)
        .with_heads(8)
        .with_dim_head(64)
        .with_ff_mult(4)
        .init::<B>(device)?;
    let tokens =
        Tensor::<B, 2, Int>::random([1, 512], Distribution::Uniform(0.0, 20_000.0), device);
    let logits = model.forward(tokens)?;
    println!("logits: {:?}", logits.dims());
    Ok(())
}

fn main() -> Result<(), ModelError> {
    run::<burn_flex::Flex>(&Default::default())
}
