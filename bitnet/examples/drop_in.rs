//! Turns the linear layers of an existing Burn model into `BitLinear`s, keeping their weights,
//! and trains it on.
//!
//! Run with `cargo run --release --example drop_in`.

use bitnet::{BitLinear, BitLinearConfig, nn::InnerNorm};
use burn::{
    backend::Autodiff,
    module::Module,
    nn::{Linear, LinearConfig},
    optim::{AdamConfig, GradientsParams, Optimizer},
    tensor::{
        Distribution, Tensor,
        activation::relu,
        backend::{AutodiffBackend, Backend},
    },
};

/// A model as it was: full precision.
#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    up: Linear<B>,
    down: Linear<B>,
}

/// The same with ternary layers. Its bounds are those of any Burn module.
#[derive(Module, Debug)]
struct BitMlp<B: Backend> {
    up: BitLinear<B>,
    down: BitLinear<B>,
}

impl<B: Backend> From<Mlp<B>> for BitMlp<B> {
    fn from(model: Mlp<B>) -> Self {
        // Sizes and biases are taken from the layers themselves.
        let config = BitLinearConfig::new(0, 0).with_norm(InnerNorm::Rms);
        Self {
            up: BitLinear::from_linear(model.up, &config),
            down: BitLinear::from_linear(model.down, &config),
        }
    }
}

impl<B: Backend> BitMlp<B> {
    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.down.forward(relu(self.up.forward(x)))
    }
}

fn run<B: AutodiffBackend>(device: &B::Device) {
    let pretrained = Mlp::<B> {
        up: LinearConfig::new(16, 64).init(device),
        down: LinearConfig::new(64, 1).init(device),
    };
    let mut model = BitMlp::from(pretrained);
    let mut optimizer = AdamConfig::new().init();
    let x = Tensor::<B, 2>::random([256, 16], Distribution::Normal(0.0, 1.0), device);
    let target = x.clone().slice([0..256, 0..4]).sum_dim(1).tanh();
    for step in 0..=200 {
        let loss = (model.forward(x.clone()) - target.clone()).square().mean();
        if step % 50 == 0 {
            println!("step {step}: loss {}", loss.clone().into_scalar());
        }
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, grads);
    }
}

fn main() {
    run::<Autodiff<burn_flex::Flex>>(&Default::default());
}
