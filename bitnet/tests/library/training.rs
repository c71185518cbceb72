//! Training converges: the transformer in every mode, and a layer in somebody else's module.

use crate::common::{Ad, for_each_backend, random_tensor, values};
use bitnet::{
    BitLinear, BitLinearConfig, BitNetTransformerConfig,
    data::{Batch, Tokens},
    generate::{Generation, GenerationConfig, Sampling},
    loss::cross_entropy,
    nn::{FeedForwardKind, InnerNorm, NormPlacement},
    optim::{AdamWConfig, Schedule, ScheduleKind, clip_global_norm},
    quant::WeightQuant,
    tokenizer::ByteTokenizer,
};
use burn::{
    module::{AutodiffModule, Module},
    nn::{Linear, LinearConfig},
    optim::{AdamConfig, GradientsParams, Optimizer},
    tensor::{Tensor, activation::relu, backend::Backend},
};

for_each_backend!(
    ternary_learns_a_text,
    binary_learns_a_text,
    binary_paper_learns_a_text,
    full_precision_learns_a_text,
    a_layer_learns_in_another_module,
);

const TEXT: &str = "the quick brown fox jumps over the lazy dog; ";
const SEQ: usize = 32;
const STEPS: u64 = 100;

fn config() -> BitNetTransformerConfig {
    BitNetTransformerConfig {
        max_seq_len: SEQ,
        ff_dim: 64,
        ..BitNetTransformerConfig::new(256, 32, 1).with_heads(2).with_dim_head(16)
    }
}

/// Trains on a text that repeats itself, then has the model say it.
fn learns_a_text<B: Backend>(config: &BitNetTransformerConfig) {
    let device = Default::default();
    let tokens = Tokens::from(TEXT.repeat(4).bytes().map(u32::from).collect::<Vec<_>>());
    let schedule = Schedule {
        kind: ScheduleKind::Linear,
        peak: 2e-2,
        second_peak: 0.0,
        final_fraction: 0.1,
        decay_fraction: 0.0,
        warmup: 10,
        steps: STEPS,
        weight_decay: 0.01,
    };
    let mut model = config.init_seeded::<Ad<B>>(1, &device).unwrap();
    let mut optim = AdamWConfig { betas: (0.9, 0.95), epsilon: 1e-8, schedule }.init();
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let starts: Vec<usize> = (0..8).map(|i| (i * 17 + step as usize * 5) % 90).collect();
        let batch = Batch::<Ad<B>>::gather(&tokens, &starts, SEQ, &device);
        let loss = cross_entropy(model.forward(batch.inputs).unwrap(), batch.targets);
        losses.push(values(loss.clone())[0]);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let (grads, _) = clip_global_norm(&model, grads, 1.0);
        model = optim.step(schedule.learning_rate(step), model, grads);
    }
    // Uniform guesses among 256 bytes cost ln 256 = 5.55 nats, the letters' frequencies about 3.
    assert!((losses[0] - 5.55).abs() < 0.3, "first loss {}", losses[0]);
    let last = losses[losses.len() - 1];
    assert!(last < 0.5, "{:?} ends at {last}", config.quant);

    let model = model.valid();
    let greedy = GenerationConfig {
        max_tokens: SEQ - 12,
        sampling: Sampling::greedy(),
        ..GenerationConfig::default()
    };
    let stream = Generation::new(&model, &ByteTokenizer, &TEXT[..12], &greedy).unwrap();
    let text: String = stream.map(Result::unwrap).collect();
    assert_eq!(text, TEXT[12..SEQ], "{:?}", config.quant);
}

fn ternary_learns_a_text<B: Backend>() {
    learns_a_text::<B>(&config());
}

fn binary_learns_a_text<B: Backend>() {
    learns_a_text::<B>(&config().with_quant(WeightQuant::Binary));
}

fn binary_paper_learns_a_text<B: Backend>() {
    learns_a_text::<B>(&BitNetTransformerConfig {
        norms: NormPlacement::InLinear,
        feed_forward: FeedForwardKind::Gelu,
        ..config().with_quant(WeightQuant::BinaryPaper)
    });
}

fn full_precision_learns_a_text<B: Backend>() {
    learns_a_text::<B>(&config().with_quant(WeightQuant::None));
}

/// A module of a user of Burn: nothing in it knows about quantisation.
#[derive(Module, Debug)]
struct Regression<B: Backend> {
    input: Linear<B>,
    hidden: BitLinear<B>,
    output: Linear<B>,
}

impl<B: Backend> Regression<B> {
    fn new(device: &B::Device) -> Self {
        Self {
            input: LinearConfig::new(2, 32).init(device),
            hidden: BitLinearConfig::new(32, 32)
                .with_norm(InnerNorm::Rms)
                .with_bias(true)
                .init(device),
            output: LinearConfig::new(32, 1).init(device),
        }
    }

    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let x = relu(self.input.forward(x));
        self.output.forward(relu(self.hidden.forward(x)))
    }
}

fn a_layer_learns_in_another_module<B: Backend>() {
    let device = Default::default();
    let x: Tensor<Ad<B>, 2> = random_tensor(30, [64, 2], 1.0);
    let [a, b] = [0, 1].map(|column| x.clone().narrow(1, column, 1));
    // A saddle: no linear function of the inputs comes near it.
    let expected = a * b;
    let mut model = Regression::<Ad<B>>::new(&device);
    let mut optim = AdamConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..300 {
        let loss = (model.forward(x.clone()) - expected.clone()).square().mean();
        losses.push(values(loss.clone())[0]);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optim.step(1e-2, model, grads);
    }
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.1 * first, "from {first} to {last}");
    // What was trained is what runs without gradients.
    let loss = (model.valid().forward(x.inner()) - expected.inner()).square().mean();
    assert!(values(loss)[0] < 0.1 * first);
}
