//! Packed weights against the training forward: both multiply integers, so that the residual stream is
//! the same to the bit, and greedy text the same. On any processor: `BITNET_ISA=avx2` has both compute
//! as on one without AVX-512.
//!
//! The test of texts takes a few short prompts and a model of random weights. A trained one, with as many
//! prompts as wanted, cut from a text:
//!
//! ```sh
//! PROMPTS=1000 MODEL=$PWD/runs/quickstart/model TEXT=$PWD/tinyshakespeare.txt \
//!     cargo test --release --test packed same_text -- --nocapture
//! ```

use std::{env, fs, path::Path, process::Command, time::Instant};

use bitnet::{
    BitNetTransformer, BitNetTransformerConfig,
    engine::Engine,
    generate::{CausalLm, Generation, GenerationConfig, Sampling},
    nn::FeedForwardKind,
    packed::{ISA_VARIABLE, Isa, TableFormat},
    pretrained::{FloatModel, WeightDtype, save},
    tokenizer::ByteTokenizer,
};
use burn::{
    backend::Autodiff,
    module::Param,
    tensor::{Int, Tensor, TensorData, backend::Backend},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    common::{bits, values},
    engine::config,
};

type B = burn_flex::Flex;

/// Tokens of a prompt, and those generated after it.
const PROMPT: usize = 100;
const TOKENS: usize = 100;

/// A folder with random weights far larger than those training begins with: such a model would be
/// nearly indifferent between tokens.
fn random_model(folder: &Path) -> FloatModel<B> {
    let path = folder.join("model");
    let config = config().with_max_seq_len(PROMPT + TOKENS);
    let model = config.init_seeded::<B>(3, &Default::default()).unwrap();
    save(&path, &model, &ByteTokenizer, WeightDtype::F32).unwrap();
    FloatModel::load(&path, &Default::default()).unwrap()
}

/// A model that gives the residual stream after the last norm for logits: its head is the unit
/// matrix, whose products are exact in any order.
fn transparent<B: Backend>(config: &BitNetTransformerConfig) -> BitNetTransformer<B> {
    let mut model = config.init_seeded::<B>(7, &Default::default()).unwrap();
    let unit = Tensor::eye(config.dim, &Default::default());
    model.lm_head.as_mut().unwrap().weight = Param::from_tensor(unit);
    model
}

fn stream<B: Backend>(config: &BitNetTransformerConfig, tokens: &[u32]) -> Vec<f32> {
    let ids: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
    let ids = TensorData::new(ids, [1, tokens.len()]);
    let ids = Tensor::<B, 2, Int>::from_data(ids, &Default::default());
    values(transparent::<B>(config).forward(ids).unwrap())
}

/// Each in a process of its own, as instructions are chosen once.
#[test]
fn the_residual_stream_is_that_of_training_with_all_instructions() {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "exact::the_residual_stream_is_that_of_training_to_the_bit"])
            .env(ISA_VARIABLE, isa.key())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{isa}: {text}");
    }
}

#[test]
fn the_residual_stream_is_that_of_training_to_the_bit() {
    let limit = Isa::limit().unwrap();
    assert!(limit.is_none_or(|isa| !isa.is_available() || isa == Isa::best()));
    let base = BitNetTransformerConfig {
        dim: 96,
        num_tokens: 96,
        dim_head: 40,
        heads: 4,
        kv_heads: 2,
        ff_dim: 200,
        max_seq_len: 150,
        tie_embeddings: false,
        init_std: 0.1,
        ..config()
    };
    let swiglu = BitNetTransformerConfig { feed_forward: FeedForwardKind::Swiglu, ..base.clone() };
    let qk_norm = BitNetTransformerConfig { qk_norm: true, kv_heads: 4, ..base.clone() };
    let wide = BitNetTransformerConfig { dim_head: 128, bias: true, ..base.clone() };
    for config in [base, swiglu, qk_norm, wide] {
        let tokens: Vec<u32> = (0..150).map(|at| at * at % 96).collect();
        let engine = Engine::new(&transparent::<B>(&config), TableFormat::F32).unwrap();
        let mut cache = engine.new_cache();
        // A prompt, then tokens by themselves.
        let mut packed = engine.forward(&mut [(&mut cache, &tokens[..120])]).unwrap();
        for token in tokens[120..].chunks(1) {
            packed.extend(engine.forward(&mut [(&mut cache, token)]).unwrap());
        }
        assert_eq!(bits(&packed), bits(&stream::<B>(&config, &tokens)));
        assert_eq!(bits(&packed), bits(&stream::<Autodiff<B>>(&config, &tokens)));
    }
}

#[test]
fn the_same_text_as_the_training_forward() {
    let folder = tempfile::tempdir().unwrap();
    let model = match env::var_os("MODEL") {
        Some(path) => FloatModel::<B>::load(path.as_ref(), &Default::default()).unwrap(),
        None => random_model(folder.path()),
    };
    let count = env::var("PROMPTS").map_or(5, |count| count.parse::<usize>().unwrap());
    let text = match env::var_os("TEXT") {
        Some(path) => fs::read(path).unwrap(),
        None => include_bytes!("exact.rs").to_vec(),
    };
    let tokens = model.tokenizer.encode(&text).unwrap();
    let context = model.model.config().max_seq_len;
    let prompt_len = PROMPT.min(context);

    let engine = bitnet::engine::Engine::new(&model.model, TableFormat::F32).unwrap();
    let greedy =
        GenerationConfig { max_tokens: TOKENS, sampling: Sampling::greedy(), ..Default::default() };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut equal, mut first_differences) = (0, Vec::new());
    let mut seconds = [0.0; 2];
    for _ in 0..count {
        let start = rng.random_range(0..tokens.len() - prompt_len);
        let prompt = model.tokenizer.decode(&tokens[start..start + prompt_len]);
        let prompt = String::from_utf8_lossy(&prompt);
        let tokenizer = model.tokenizer.as_ref();
        let expected = model.stream(prompt.as_ref(), &greedy).unwrap();
        let expected = timed(&mut seconds[0], expected);
        let packed = Generation::new(&engine, tokenizer, prompt.as_ref(), &greedy).unwrap();
        let packed = timed(&mut seconds[1], packed);
        match expected.bytes().zip(packed.bytes()).position(|(a, b)| a != b) {
            None if expected.len() == packed.len() => equal += 1,
            place => first_differences.push(place.unwrap_or(expected.len().min(packed.len()))),
        }
    }
    println!(
        "{equal} of {count} texts equal: prompts of {prompt_len} tokens, {TOKENS} after each, \
         context {context}; {:.1} s as in training, {:.1} s packed",
        seconds[0], seconds[1]
    );
    println!("bytes before the first difference of the others: {first_differences:?}");
    assert_eq!(equal, count);
}

/// The text of a generation, whose time counts.
fn timed<M: CausalLm>(seconds: &mut f64, generation: Generation<'_, M>) -> String {
    let start = Instant::now();
    let text = generation.collect::<Result<_, _>>().unwrap();
    *seconds += start.elapsed().as_secs_f64();
    text
}
