//! The packed engine against the transformer it was packed from.

use crate::common::{bits, for_each_backend, tensor, values};
use bitnet::{
    BitNetTransformer, BitNetTransformerConfig, ModelError,
    engine::{CacheFormat, Engine, EngineError},
    generate::{Generation, GenerationConfig, Sampling},
    nn::{FeedForwardKind, NormPlacement},
    packed::TableFormat,
    quant::{ActivationQuant, WeightQuant},
    tokenizer::ByteTokenizer,
};
use burn::{
    module::Param,
    tensor::{Int, Tensor, TensorData, backend::Backend},
};
use half::bf16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

for_each_backend!(
    logits_are_the_transformers,
    greedy_text_is_the_transformers,
    coarser_tables_are_rounded_embeddings,
    what_cannot_be_packed_is_an_error,
);

/// A small model: sizes that fill no panel and no block.
pub(crate) fn config() -> BitNetTransformerConfig {
    BitNetTransformerConfig {
        max_seq_len: 24,
        ff_dim: 70,
        init_std: 0.3,
        ..BitNetTransformerConfig::new(256, 36, 2).with_heads(6).with_kv_heads(2).with_dim_head(6)
    }
}

/// All that a configuration can vary.
pub(crate) fn configs() -> Vec<BitNetTransformerConfig> {
    let vary = |change: fn(&mut BitNetTransformerConfig)| {
        let mut config = config();
        change(&mut config);
        config
    };
    vec![
        config(),
        vary(|c| c.quant = WeightQuant::Binary),
        vary(|c| c.norms = NormPlacement::InLinear),
        vary(|c| c.feed_forward = FeedForwardKind::Swiglu),
        vary(|c| c.feed_forward = FeedForwardKind::Gelu),
        vary(|c| c.qk_norm = true),
        vary(|c| c.bias = true),
        vary(|c| c.tie_embeddings = false),
        vary(|c| (c.ff_dim, c.group_size) = (72, Some(9))),
        vary(|c| c.kv_heads = 6),
    ]
}

fn random_tokens(seed: u64, count: usize) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(0..256)).collect()
}

fn forward<B: Backend>(model: &BitNetTransformer<B>, tokens: &[u32]) -> Vec<f32> {
    let ids: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
    let ids = TensorData::new(ids, [1, tokens.len()]);
    values(model.forward(Tensor::<B, 2, Int>::from_data(ids, &Default::default())).unwrap())
}

/// Largest difference relative to the largest value.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    let top = b.iter().fold(0.0f32, |top, b| top.max(b.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / top
}

fn logits_are_the_transformers<B: Backend>() {
    let mut differences = Vec::new();
    for (seed, config) in (0..).zip(configs()) {
        let mut model = config.init_seeded::<B>(seed, &Default::default()).unwrap();
        // Gains and biases that are not ones and zeros.
        let gains: Vec<f32> = (0..36).map(|i| 0.5 + i as f32 / 36.0).collect();
        model.norm.weight = burn::module::Param::from_tensor(tensor(&gains, [36]));
        if let Some(bias) = &mut model.layers[1].mlp.down_proj.bias {
            *bias = burn::module::Param::from_tensor(tensor(&gains, [36]));
        }
        let engine = Engine::new(&model, TableFormat::F32).unwrap();
        for seed in 0..4 {
            let tokens = random_tokens(seed, 24);
            let packed = engine.forward(&mut [(&mut engine.new_cache(), &tokens)]).unwrap();
            differences.push(difference(&packed, &forward(&model, &tokens)));
        }
    }
    differences.sort_by(f32::total_cmp);
    // Rounding; where it moves an input across the boundary between two codes, a step of those.
    assert!(differences[differences.len() / 2] < 1e-5, "{differences:?}");
    assert!(differences[differences.len() - 1] < 0.05, "{differences:?}");
}

fn greedy_text_is_the_transformers<B: Backend>() {
    let greedy =
        GenerationConfig { max_tokens: 60, sampling: Sampling::greedy(), ..Default::default() };
    let model = config().init_seeded::<B>(3, &Default::default()).unwrap();
    let engine = Engine::new(&model, TableFormat::F32).unwrap();
    // Far beyond the context.
    for prompt in ["a", "In the beginning", "0123456789abcdefghijklmn"] {
        let expected: String = Generation::new(&model, &ByteTokenizer, prompt, &greedy)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let text: String = Generation::new(&engine, &ByteTokenizer, prompt, &greedy)
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(text, expected, "{prompt}");
    }
}

/// A coarser table is as good as an embedding that was coarse from the start. The inputs of an 8-bit
/// head have 16 bits.
fn coarser_tables_are_rounded_embeddings<B: Backend>() {
    let logits = |model: &BitNetTransformer<B>, format| {
        let engine = Engine::new(model, format).unwrap();
        engine.forward(&mut [(&mut engine.new_cache(), &random_tokens(1, 20))]).unwrap()
    };
    let to_int8 = |row: &[f32]| -> Vec<f32> {
        let step = row.iter().fold(0.0_f32, |top, w| top.max(w.abs())) / 127.0;
        row.iter().map(|w| (w / step).round_ties_even() * step).collect()
    };
    let to_bf16 = |row: &[f32]| row.iter().map(|&w| bf16::from_f32(w).to_f32()).collect();
    let check = |format, tolerance, round: &dyn Fn(&[f32]) -> Vec<f32>| {
        // The median: a value at a boundary may move a code, and that everything.
        let mut differences: Vec<f32> = (0..5)
            .map(|seed| {
                let mut model = config().init_seeded::<B>(seed, &Default::default()).unwrap();
                let coarse = logits(&model, format);
                assert_ne!(coarse, logits(&model, TableFormat::F32));
                let weight = model.embed_tokens.weight.val();
                let rounded: Vec<f32> =
                    values(weight.clone()).chunks_exact(36).flat_map(round).collect();
                let rounded = TensorData::new(rounded, weight.dims());
                model.embed_tokens.weight =
                    Param::from_tensor(Tensor::from_data(rounded, &weight.device()));
                difference(&coarse, &logits(&model, TableFormat::F32))
            })
            .collect();
        differences.sort_by(f32::total_cmp);
        assert!(differences[2] < tolerance, "{format:?} {differences:?}");
    };
    check(TableFormat::Bf16, 1e-5, &to_bf16);
    check(TableFormat::Int8, 1e-3, &to_int8);
}

fn what_cannot_be_packed_is_an_error<B: Backend>() {
    for (quant, norms, activation) in [
        (WeightQuant::None, NormPlacement::SubNorm, ActivationQuant::Int8PerToken),
        (WeightQuant::BinaryPaper, NormPlacement::InLinear, ActivationQuant::Int8PerToken),
        (WeightQuant::Ternary, NormPlacement::SubNorm, ActivationQuant::None),
        (WeightQuant::Ternary, NormPlacement::SubNorm, ActivationQuant::Int8PerTensor),
    ] {
        let config = BitNetTransformerConfig { quant, norms, activation, ..config() };
        let model = config.init::<B>(&Default::default()).unwrap();
        let error = Engine::new(&model, TableFormat::Int8).unwrap_err();
        assert!(matches!(error, EngineError::Unsupported(_)), "{error}");
    }
}

#[test]
fn cuts_and_batches_change_no_bit() {
    for (config, cache) in
        configs().into_iter().zip([CacheFormat::F32, CacheFormat::Int8].repeat(5))
    {
        let engine = Engine::random(&config, 1, TableFormat::Int8).unwrap();
        let engine = engine.with_cache_format(cache);
        let sequences: Vec<Vec<u32>> =
            [24, 1, 9, 17].into_iter().zip(7..).map(|(n, seed)| random_tokens(seed, n)).collect();
        let alone: Vec<Vec<f32>> = sequences
            .iter()
            .map(|tokens| engine.forward(&mut [(&mut engine.new_cache(), tokens)]).unwrap())
            .collect();
        let mut caches = vec![engine.new_cache(); sequences.len()];
        let mut batch: Vec<_> =
            caches.iter_mut().zip(&sequences).map(|(cache, tokens)| (cache, &tokens[..])).collect();
        assert_eq!(bits(&engine.forward(&mut batch).unwrap()), bits(&alone.concat()));

        for (tokens, expected) in sequences.iter().zip(&alone) {
            let mut cache = engine.new_cache();
            let mut logits = Vec::new();
            let (first, rest) = tokens.split_at(tokens.len() / 2);
            logits.extend(engine.forward(&mut [(&mut cache, first)]).unwrap());
            // A token that is taken back, and a copy of the cache that goes on by itself.
            engine.forward(&mut [(&mut cache, &[3])]).unwrap();
            cache.truncate(first.len());
            let mut copy = cache.clone();
            engine.forward(&mut [(&mut copy, &[5])]).unwrap();
            for token in rest {
                logits.extend(engine.forward_next(&mut [(&mut cache, &[*token])]).unwrap());
            }
            assert_eq!(bits(&logits), bits(expected));
            assert_eq!(cache.len(), tokens.len());
        }
    }
}

/// More tokens than go through the blocks together, over several sequences.
#[test]
fn long_batches_are_cut() {
    let config = config().with_max_seq_len(200);
    let engine = Engine::random(&config, 1, TableFormat::Int8).unwrap();
    let sequences = [random_tokens(1, 150), random_tokens(2, 3), random_tokens(3, 90)];
    let mut caches = vec![engine.new_cache(); 3];
    let mut batch: Vec<_> =
        caches.iter_mut().zip(&sequences).map(|(cache, tokens)| (cache, &tokens[..])).collect();
    let together = engine.forward(&mut batch).unwrap();
    let mut alone = Vec::new();
    for (tokens, cache) in sequences.iter().zip(&caches) {
        let mut single = engine.new_cache();
        for token in tokens {
            alone.extend(engine.forward(&mut [(&mut single, &[*token])]).unwrap());
        }
        assert_eq!((cache.len(), single.len()), (tokens.len(), tokens.len()));
    }
    assert_eq!(bits(&together), bits(&alone));
}

/// Eight bits round keys and values by half a step at most: less than a hundredth of the largest.
#[test]
fn an_8_bit_cache_is_near_one_of_32() {
    let mut differences: Vec<f32> = (0..9)
        .map(|seed| {
            let engine = Engine::random(&config(), seed, TableFormat::F32).unwrap();
            let tokens = random_tokens(seed, 24);
            let logits = |engine: &Engine| {
                engine.forward(&mut [(&mut engine.new_cache(), &tokens)]).unwrap()
            };
            let exact = logits(&engine);
            let coarse = logits(&engine.with_cache_format(CacheFormat::Int8));
            assert_ne!(coarse, exact);
            difference(&coarse, &exact)
        })
        .collect();
    differences.sort_by(f32::total_cmp);
    assert!(differences[4] < 0.05, "{differences:?}");
}

#[test]
fn only_the_last_logits_are_made() {
    let engine = Engine::random(&config(), 2, TableFormat::Int8).unwrap();
    let (mut a, mut b, mut c) = (engine.new_cache(), engine.new_cache(), engine.new_cache());
    let [first, second] = [random_tokens(1, 5), random_tokens(2, 3)];
    let all = engine.forward(&mut [(&mut a.clone(), &first), (&mut b.clone(), &second)]).unwrap();
    let mut batch: [(_, &[u32]); 3] = [(&mut a, &first), (&mut c, &[]), (&mut b, &second)];
    let last = engine.forward_next(&mut batch).unwrap();
    assert_eq!(bits(&last), bits(&[&all[4 * 256..5 * 256], &all[7 * 256..]].concat()));
    assert_eq!([a.len(), b.len(), c.len()], [5, 3, 0]);
    assert!(engine.forward_next(&mut []).unwrap().is_empty());
}

#[test]
fn bad_tokens_are_errors_and_leave_the_caches() {
    let engine = Engine::random(&config(), 2, TableFormat::Int8).unwrap();
    let (mut a, mut b) = (engine.new_cache(), engine.new_cache());
    let error = engine.forward(&mut [(&mut a, &[1]), (&mut b, &[256])]).unwrap_err();
    assert!(matches!(error, ModelError::UnknownToken { token: 256, max: 256 }), "{error}");
    let error = engine.forward(&mut [(&mut a, &[1]), (&mut b, &[0; 25])]).unwrap_err();
    assert!(matches!(error, ModelError::MaxSequenceLengthExceeded { actual: 25, max: 24 }));
    assert!(a.is_empty() && b.is_empty());
}
