//! A training loop of one's own, on the bytes of a file (enwik8, say), without the trainer.
//!
//! Run with `cargo run --release --example train_bytes -- enwik8.gz`; without a file it
//! takes the King James Bible.

use std::{env, error::Error};

use bitnet::{
    BitNetTransformerConfig,
    data::{Corpus, DataOptions, Split, TrainBatches},
    generate::{Generation, GenerationConfig},
    loss::cross_entropy,
    optim::{AdamWConfig, Schedule, ScheduleKind, clip_global_norm},
    progress::Bar,
    tokenizer::ByteTokenizer,
};
use burn::{
    backend::Autodiff,
    module::AutodiffModule,
    optim::{GradientsParams, Optimizer},
    tensor::backend::AutodiffBackend,
};

fn run<B: AutodiffBackend>(source: String, device: &B::Device) -> Result<(), Box<dyn Error>> {
    let (options, bar) = (DataOptions::default(), Bar::default());
    let corpus = Corpus::open(&[source], &options, &bar)?;
    let tokens = corpus.tokens(&ByteTokenizer, &options.cache, &bar)?.tokens;
    let split = Split::new(&tokens, &ByteTokenizer, 0.1, 0.0);
    let batches = TrainBatches::new(tokens, split.training, 4, 128, 1)?;

    let steps = 50;
    let schedule = Schedule {
        kind: ScheduleKind::Cosine,
        peak: 3e-3,
        second_peak: 0.0,
        final_fraction: 0.1,
        decay_fraction: 0.0,
        warmup: 10,
        steps,
        weight_decay: 0.1,
    };
    let mut model = BitNetTransformerConfig::new(256, 128, 2)
        .with_heads(4)
        .with_dim_head(32)
        .with_max_seq_len(128)
        .init_seeded::<B>(1, device)?;
    let mut optimizer = AdamWConfig { betas: (0.9, 0.95), epsilon: 1e-8, schedule }.init();

    for step in 0..steps {
        let batch = batches.batch(step, device);
        let loss = cross_entropy(model.forward(batch.inputs)?, batch.targets);
        if step % 10 == 0 {
            println!("step {step}: {} nats/byte", loss.clone().into_scalar());
        }
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let (grads, _norm) = clip_global_norm(&model, grads, 1.0);
        model = optimizer.step(schedule.learning_rate(step), model, grads);
    }

    let model = model.valid();
    let config = GenerationConfig { max_tokens: 100, ..GenerationConfig::default() };
    let text: String =
        Generation::new(&model, &ByteTokenizer, "In the ", &config)?.collect::<Result<_, _>>()?;
    println!("In the {text}");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let source = env::args().nth(1).unwrap_or_else(|| "kjv".into());
    run::<Autodiff<burn_flex::Flex>>(source, &Default::default())
}
