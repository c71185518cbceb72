//! [`BitNetTransformer`]: cached and full forward pass, causality, errors, sizes, seeds.

use crate::common::{assert_close, assert_differ, bits, for_each_backend, tokens, values};
use bitnet::{
    BitNetTransformer, BitNetTransformerConfig, ModelError,
    nn::{FeedForwardKind, NormPlacement},
    quant::WeightQuant,
};
use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Int, Tensor, TensorData, backend::Backend},
};

for_each_backend!(
    cached_equals_full,
    next_is_the_last_position,
    a_truncated_cache_continues,
    too_long_is_an_error_and_leaves_the_cache,
    a_cache_is_for_its_batch_size,
    later_tokens_change_nothing_before_them,
    order_matters,
    the_predecessors_example_runs,
    sizes_are_the_formula,
    packed_sizes_are_those_of_the_layers,
    seeds_fix_the_weights,
);

/// A model whose attention and feed-forward networks have a say in its logits.
fn config() -> BitNetTransformerConfig {
    BitNetTransformerConfig {
        kv_heads: 2,
        ff_dim: 24,
        max_seq_len: 12,
        init_std: 0.5,
        ..BitNetTransformerConfig::new(19, 16, 2).with_heads(4).with_dim_head(6)
    }
}

/// Grouped queries and one key head a query; norms in the blocks and in the linears.
fn variants() -> Vec<BitNetTransformerConfig> {
    let paper = BitNetTransformerConfig {
        norms: NormPlacement::InLinear,
        feed_forward: FeedForwardKind::Gelu,
        ..config().with_quant(WeightQuant::BinaryPaper)
    };
    let in_linear = BitNetTransformerConfig {
        norms: NormPlacement::InLinear,
        feed_forward: FeedForwardKind::Swiglu,
        tie_embeddings: false,
        ..config().with_kv_heads(4)
    };
    let full_precision = BitNetTransformerConfig {
        qk_norm: true,
        bias: true,
        ..config().with_quant(WeightQuant::None).with_kv_heads(1)
    };
    vec![config(), config().with_kv_heads(4), in_linear, paper, full_precision]
}

fn model<B: Backend>(config: &BitNetTransformerConfig) -> BitNetTransformer<B> {
    config.init_seeded(7, &Default::default()).unwrap()
}

fn two_sequences<B: Backend>() -> Tensor<B, 2, Int> {
    tokens(&[[3, 1, 4, 1, 5, 9, 2, 6, 5, 3], [18, 0, 7, 7, 16, 2, 11, 0, 8, 13]])
}

fn cached_equals_full<B: Backend>() {
    for config in variants() {
        let model = model::<B>(&config);
        let expected = values(model.forward(two_sequences()).unwrap());
        for chunks in [vec![1; 10], vec![3, 7], vec![10], vec![4, 1, 1, 4]] {
            let mut cache = model.new_cache(2);
            assert!(cache.is_empty());
            let mut logits = Vec::new();
            for &chunk in &chunks {
                let next = two_sequences().narrow(1, cache.len(), chunk);
                logits.push(model.forward_cached(next, &mut cache).unwrap());
            }
            assert_eq!(cache.len(), 10);
            let logits = values(Tensor::cat(logits, 1));
            assert_close(&logits, &expected, 1e-5, &format!("{config:?} in {chunks:?}"));
        }
    }
}

fn next_is_the_last_position<B: Backend>() {
    let model = model::<B>(&config());
    let full = model.forward(two_sequences()).unwrap();
    let mut cache = model.new_cache(2);
    for (start, len) in [(0, 4), (4, 1), (5, 5)] {
        let next = model.forward_next(two_sequences().narrow(1, start, len), &mut cache).unwrap();
        assert_eq!(next.dims(), [2, 19]);
        let expected = values(full.clone().narrow(1, start + len - 1, 1));
        assert_close(&values(next), &expected, 1e-5, "next");
    }
}

fn a_truncated_cache_continues<B: Backend>() {
    let model = model::<B>(&config());
    let mut cache = model.new_cache(2);
    model.forward_cached(two_sequences(), &mut cache).unwrap();
    cache.truncate(99);
    assert_eq!(cache.len(), 10, "there is nothing to forget");
    cache.truncate(3);
    assert_eq!(cache.len(), 3);
    let other = tokens(&[[17, 17, 1], [2, 3, 4]]);
    let logits = model.forward_cached(other.clone(), &mut cache).unwrap();
    let whole = Tensor::cat(vec![two_sequences().narrow(1, 0, 3), other], 1);
    let expected = model.forward(whole).unwrap().narrow(1, 3, 3);
    assert_close(&values(logits), &values(expected), 1e-5, "after truncation");
}

fn too_long_is_an_error_and_leaves_the_cache<B: Backend>() {
    let model = model::<B>(&config());
    let thirteen = Tensor::cat(vec![two_sequences(), tokens(&[[1, 2, 3], [4, 5, 6]])], 1);
    let error = model.forward(thirteen.clone()).unwrap_err();
    let exceeded =
        |error| matches!(error, ModelError::MaxSequenceLengthExceeded { actual: 13, max: 12 });
    assert!(exceeded(error));
    assert!(exceeded(model.forward_cached(thirteen.clone(), &mut model.new_cache(2)).unwrap_err()));

    let mut cache = model.new_cache(2);
    model.forward_cached(thirteen.clone().narrow(1, 0, 9), &mut cache).unwrap();
    let four = thirteen.clone().narrow(1, 9, 4);
    assert!(exceeded(model.forward_cached(four.clone(), &mut cache).unwrap_err()));
    assert!(exceeded(model.forward_next(four, &mut cache).unwrap_err()));
    assert_eq!(cache.len(), 9);
    let logits = model.forward_cached(thirteen.clone().narrow(1, 9, 3), &mut cache).unwrap();
    let expected = model.forward(thirteen.narrow(1, 0, 12)).unwrap().narrow(1, 9, 3);
    assert_close(&values(logits), &values(expected), 1e-5, "after the error");
}

fn a_cache_is_for_its_batch_size<B: Backend>() {
    let model = model::<B>(&config());
    let mut cache = model.new_cache(1);
    let error = model.forward_cached(two_sequences(), &mut cache).unwrap_err();
    assert!(matches!(error, ModelError::CacheBatchMismatch { cached: 1, actual: 2 }));
    assert!(cache.is_empty());
}

fn later_tokens_change_nothing_before_them<B: Backend>() {
    for config in variants() {
        let model = model::<B>(&config);
        let before = model.forward(tokens(&[[3, 1, 4, 1, 5, 9]])).unwrap();
        let after = model.forward(tokens(&[[3, 1, 4, 2, 5, 9]])).unwrap();
        let part = |logits: &Tensor<B, 3>, start, len| values(logits.clone().narrow(1, start, len));
        assert_eq!(part(&before, 0, 3), part(&after, 0, 3), "{config:?}");
        // From there on, every one.
        for position in 3..6 {
            let (a, b) = (part(&before, position, 1), part(&after, position, 1));
            assert_differ(&a, &b, &format!("position {position} of {config:?}"));
        }
    }
}

fn order_matters<B: Backend>() {
    // One block: without positions, attention would see the first three tokens as a set.
    let model = model::<B>(&BitNetTransformerConfig { depth: 1, ..config() });
    let last = |row| values(model.forward(tokens(&[row])).unwrap().narrow(1, 3, 1));
    assert_differ(&last([3, 1, 4, 5]), &last([4, 3, 1, 5]), "permuted");
}

fn the_predecessors_example_runs<B: Backend>() {
    let model =
        BitNetTransformerConfig::new(20_000, 512, 1).init::<B>(&Default::default()).unwrap();
    let ids: Vec<i32> = (0..512).map(|i| i * 7919 % 20_000).collect();
    let ids = Tensor::from_data(TensorData::new(ids, [1, 512]), &Default::default());
    let logits = model.forward(ids).unwrap();
    assert_eq!(logits.dims(), [1, 512, 20_000]);
    assert!(values(logits).iter().all(|logit| logit.is_finite()));
}

/// Counts parameters without making them.
struct Count(usize);

impl<B: Backend> ModuleVisitor<B> for Count {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0 += param.lazy_shape().num_elements();
    }
}

fn sizes_are_the_formula<B: Backend>() {
    let count = |config: &BitNetTransformerConfig| {
        let mut count = Count(0);
        config.init::<B>(&Default::default()).unwrap().visit(&mut count);
        count.0
    };
    let released = BitNetTransformerConfig {
        ff_dim: 6912,
        max_seq_len: 4096,
        ..BitNetTransformerConfig::new(128_256, 2560, 30)
            .with_heads(20)
            .with_kv_heads(5)
            .with_dim_head(128)
    };
    assert_eq!(count(&released), 2_412_820_480, "the number its report gives");

    // Embedding 19·16; a block: q and o 16·24, k and v 16·12, three of 16·24 in the network, gains
    // 16 + 16 + 24 + 24; the last gain 16.
    assert_eq!(count(&config()), 304 + 2 * (2 * 384 + 2 * 192 + 3 * 384 + 80) + 16);
    // No gains but the last, no gate, and a head.
    let plain = BitNetTransformerConfig {
        norms: NormPlacement::InLinear,
        feed_forward: FeedForwardKind::Gelu,
        tie_embeddings: false,
        ..config()
    };
    assert_eq!(count(&plain), 2 * 304 + 2 * (2 * 384 + 2 * 192 + 2 * 384) + 16);
    // A bias for every output; gains of one head for queries and keys.
    let extras = BitNetTransformerConfig { bias: true, qk_norm: true, ..config() };
    let biases = 24 + 2 * 12 + 16 + 2 * 24 + 16;
    assert_eq!(count(&extras), count(&config()) + 2 * (biases + 2 * 6));
}

fn packed_sizes_are_those_of_the_layers<B: Backend>() {
    let grouped = BitNetTransformerConfig { group_size: Some(8), ..config() };
    let all = variants().into_iter().chain([grouped, config().with_quant(WeightQuant::None)]);
    for config in all {
        let model = config.init::<B>(&Default::default()).unwrap();
        let (mut weights, mut bytes) = (0, 0);
        for block in &model.layers {
            let (attention, mlp) = (&block.self_attn, &block.mlp);
            let attention =
                [&attention.q_proj, &attention.k_proj, &attention.v_proj, &attention.o_proj];
            let linears = attention.into_iter().chain([&mlp.up_proj, &mlp.down_proj]);
            for linear in linears.chain(mlp.gate_proj.as_ref()) {
                let Some(quantized) = linear.quantized_weight() else { continue };
                let codes = quantized.codes.shape().num_elements();
                weights += codes;
                bytes += codes.div_ceil(4) + 4 * quantized.scale.shape().num_elements();
            }
        }
        assert_eq!(config.quantized_count(), weights as u128, "{config:?}");
        let others = config.parameter_count() - weights as u128;
        for width in [2, 4] {
            assert_eq!(config.packed_bytes(width), bytes as u128 + width * others, "{config:?}");
        }
    }
}

/// The bits of all parameters.
struct Bits(Vec<u32>);

impl<B: Backend> ModuleVisitor<B> for Bits {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.extend(bits(&values(param.val())));
    }
}

fn weights_of<B: Backend>(seed: u64) -> Vec<u32> {
    let mut weights = Bits(Vec::new());
    config().init_seeded::<B>(seed, &Default::default()).unwrap().visit(&mut weights);
    weights.0
}

fn seeds_fix_the_weights<B: Backend>() {
    let weights = weights_of::<B>(3);
    assert_eq!(weights, weights_of::<B>(3));
    assert_ne!(weights, weights_of::<B>(4));
    let of = |bits: &u32| f32::from_bits(*bits);
    let (matrices, gains): (Vec<f32>, Vec<f32>) = weights.iter().map(of).partition(|&w| w != 1.0);
    assert_eq!(gains.len(), 2 * 80 + 16, "gains start at one");
    let variance = matrices.iter().map(|w| w * w).sum::<f32>() / matrices.len() as f32;
    // init_std is 0.5; the estimate over 4,912 weights is good to 1 %.
    assert!((variance.sqrt() - 0.5).abs() < 0.03, "standard deviation {}", variance.sqrt());
}

#[cfg(all(feature = "flex", feature = "ndarray"))]
#[test]
fn seeds_give_the_same_weights_on_every_backend() {
    assert_eq!(weights_of::<burn_flex::Flex>(3), weights_of::<burn_ndarray::NdArray>(3));
}

#[test]
fn unusable_configurations_are_named() {
    let reason = |config: BitNetTransformerConfig| match config.validate() {
        Err(ModelError::InvalidConfig(reason)) => reason,
        other => panic!("{other:?} for {config:?}"),
    };
    config().validate().unwrap();
    for (config, words) in [
        (BitNetTransformerConfig { num_tokens: 0, ..config() }, "num_tokens is 0"),
        (BitNetTransformerConfig { dim: 0, ..config() }, "dim is 0"),
        (BitNetTransformerConfig { depth: 0, ..config() }, "depth is 0"),
        (BitNetTransformerConfig { heads: 0, ..config() }, "heads is 0"),
        (BitNetTransformerConfig { kv_heads: 0, ..config() }, "kv_heads is 0"),
        (BitNetTransformerConfig { dim_head: 0, ..config() }, "dim_head is 0"),
        (BitNetTransformerConfig { ff_dim: 0, ..config() }, "ff_dim is 0"),
        (BitNetTransformerConfig { max_seq_len: 0, ..config() }, "max_seq_len is 0"),
        (BitNetTransformerConfig { ff_dim: usize::MAX, ..config() }, "ff_dim is 1844"),
        (config().with_kv_heads(3), "heads 4 is no multiple of kv_heads 3"),
        (config().with_kv_heads(8), "heads 4 is no multiple of kv_heads 8"),
        (config().with_dim_head(5), "dim_head is 5, must be even"),
        (BitNetTransformerConfig { rope_theta: 0.0, ..config() }, "rope_theta is 0"),
        (BitNetTransformerConfig { norm_eps: -1.0, ..config() }, "norm_eps is -1"),
        (BitNetTransformerConfig { init_std: f64::NAN, ..config() }, "init_std is NaN"),
        (BitNetTransformerConfig { init_std: f64::INFINITY, ..config() }, "init_std is inf"),
        (BitNetTransformerConfig { init_std: 1e308, ..config() }, "init_std is 1e308, must be"),
        (BitNetTransformerConfig { norm_eps: 1e-60, ..config() }, "norm_eps is 1e-60, must be"),
        (BitNetTransformerConfig { rope_theta: 1e39, ..config() }, "rope_theta is 1e39, must be"),
        (config().with_quant(WeightQuant::BinaryPaper), "\"binary-paper\" needs"),
        (BitNetTransformerConfig { group_size: Some(0), ..config() }, "group_size 0"),
        (BitNetTransformerConfig { group_size: Some(16), ..config() }, "group_size 16"),
    ] {
        let reason = reason(config);
        assert!(reason.contains(words), "\"{reason}\" does not say \"{words}\"");
    }
}
