//! An app outside of the workspace, with a `BitLinear` in a model of its own: `cargo run --release`
//! here trains it and prints the loss before and after.

use bitnet::{BitLinear, BitLinearConfig, nn::InnerNorm};
use burn::{
    backend::{Autodiff, Flex},
    module::Module,
    nn::{Linear, LinearConfig},
    optim::{AdamWConfig, GradientsParams, Optimizer},
    tensor::{
        Distribution, ElementConversion, Tensor,
        activation::relu,
        backend::{AutodiffBackend, Backend},
    },
};

/// Steps of the training.
const STEPS: usize = 200;

/// A network of one hidden layer, which is ternary.
#[derive(Module, Debug)]
struct Network<B: Backend> {
    hidden: BitLinear<B>,
    output: Linear<B>,
}

impl<B: Backend> Network<B> {
    fn new(device: &B::Device) -> Self {
        let hidden = BitLinearConfig::new(16, 64).with_norm(InnerNorm::Rms).with_bias(true);
        Self { hidden: hidden.init(device), output: LinearConfig::new(64, 1).init(device) }
    }

    /// # Shapes
    /// - `x`: `[batch, 16]`
    /// - output: `[batch, 1]`
    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.output.forward(relu(self.hidden.forward(x)))
    }
}

/// Learns the sum of the first four features. Returns the mean squared errors before and after.
fn train<B: AutodiffBackend>(device: &B::Device) -> [f64; 2] {
    B::seed(device, 1);
    let x = Tensor::<B, 2>::random([256, 16], Distribution::Normal(0.0, 1.0), device);
    let target = x.clone().slice([0..256, 0..4]).sum_dim(1);
    let mut model = Network::<B>::new(device);
    let mut optimizer = AdamWConfig::new().init();
    let loss = |model: &Network<B>| (model.forward(x.clone()) - target.clone()).square().mean();
    let before = loss(&model).into_scalar().elem();
    for _ in 0..STEPS {
        let grads = GradientsParams::from_grads(loss(&model).backward(), &model);
        model = optimizer.step(1e-2, model, grads);
    }
    [before, loss(&model).into_scalar().elem()]
}

fn main() {
    let [before, after] = train::<Autodiff<Flex>>(&Default::default());
    println!("loss before: {before:.4}, after {STEPS} steps: {after:.4}");
    assert!(after < before / 2.0, "it learned nothing");
}
