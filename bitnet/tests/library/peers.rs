//! Mistakes found in other implementations, one test each, named after the mistake.

use crate::common::{
    Ad, assert_close, assert_differ, for_each_backend, random_tensor, tensor, tokens, values,
};
use bitnet::{
    BitLinear, BitLinearConfig, BitNetTransformer, BitNetTransformerConfig,
    loss::cross_entropy,
    nn::{FeedForwardKind, NormPlacement, rms_normalize},
    quant::{WeightQuant, straight_through},
};
use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::{Linear, LinearConfig},
    optim::{GradientsAccumulator, GradientsParams},
    tensor::{
        Int, Tensor,
        backend::{AutodiffBackend, Backend},
    },
};

for_each_backend!(
    rms_norm_scale_inverted,
    binary_formula_sold_as_ternary,
    bias_allocated_but_never_used,
    output_quantised_instead_of_input,
    activations_never_rounded,
    no_dequantisation,
    attention_divides_by_root_d_twice_or_lacks_positions,
    grouped_queries_sum_their_scores,
    attention_over_heads_so_that_tokens_never_mix,
    residual_from_the_embedding,
    layer_swap_discards_the_weights,
    layer_swap_converts_the_output_head,
    gradient_leaks_through_the_scale,
    round_without_a_straight_through_estimator,
    groups_slice_the_batch,
    requantising_dequantised_weights,
    accumulation_without_scaling,
);

/// A ternary layer of the given weight, row by row.
fn layer<B: Backend, const I: usize, const O: usize>(weight: [[f32; O]; I]) -> BitLinear<B> {
    let mut layer = BitLinearConfig::new(I, O).init(&Default::default());
    layer.weight = Param::from_tensor(tensor(weight.as_flattened(), [I, O]));
    layer
}

fn rms_norm_scale_inverted<B: Backend>() {
    for std in [0.01, 1.0, 1000.0] {
        let y = values(rms_normalize(random_tensor::<B, 2>(1, [1, 64], std), 1e-12));
        let rms = (y.iter().map(|y| y * y).sum::<f32>() / 64.0).sqrt();
        assert!((rms - 1.0).abs() < 1e-4, "root mean square {rms} at {std}");
    }
}

fn binary_formula_sold_as_ternary<B: Backend>() {
    // Gaussian weights: P(|w| < mean|w| / 2) = 2Φ(½√(2/π)) − 1 = 31.0 % are zero.
    let mut layer = BitLinearConfig::new(100, 200).init::<B>(&Default::default());
    layer.weight = Param::from_tensor(random_tensor(2, [100, 200], 0.02));
    let codes = values(layer.quantized_weight().unwrap().codes);
    let share = |code| codes.iter().filter(|&&c| c == code).count() as f64 / codes.len() as f64;
    // Five standard deviations of a share among 20,000.
    assert!((share(0.0) - 0.310).abs() < 0.017, "{} zeros", share(0.0));
    assert!((share(1.0) - 0.345).abs() < 0.017, "{} ones", share(1.0));
}

fn bias_allocated_but_never_used<B: Backend>() {
    let config = BitLinearConfig::new(4, 2).with_bias(true);
    let layer = config.init::<Ad<B>>(&Default::default());
    let grads = layer.forward::<2>(Tensor::ones([3, 4], &Default::default())).sum().backward();
    assert_eq!(values(layer.bias.unwrap().grad(&grads).unwrap()), [3.0, 3.0]);
}

fn output_quantised_instead_of_input<B: Backend>() {
    // Outputs 381, 127 and 128: in 8 bits with steps of 381 / 127 the last two would be one.
    let layer = layer::<B, 3, 1>([[1.0], [1.0], [1.0]]);
    let x = tensor(&[127.0, 127.0, 127.0, 127.0, 0.0, 0.0, 127.0, 1.0, 0.0], [3, 3]);
    assert_close(&values(layer.forward::<2>(x)), &[381.0, 127.0, 128.0], 1e-6, "y");
}

fn activations_never_rounded<B: Backend>() {
    // max|x| = 127: steps of one.
    let layer = layer::<B, 2, 1>([[1.0], [1.0]]);
    let y = |x: f32| values(layer.forward::<1>(tensor(&[127.0, x], [2])))[0];
    assert_eq!(y(10.4), y(9.6));
    assert_eq!(y(10.4), 137.0);
}

fn no_dequantisation<B: Backend>() {
    let by = |input: f32, weight: f32| {
        let layer = layer::<B, 2, 1>([[weight], [weight]]);
        values(layer.forward::<1>(tensor(&[input, input], [2])))[0]
    };
    assert_close(&[by(1.0, 1.0), by(8.0, 1.0), by(1.0, 0.25)], &[2.0, 16.0, 0.5], 1e-6, "y");
}

/// One block of one head in full precision, all identities and an empty feed-forward network, so
/// that it can be followed by hand.
fn transparent<B: Backend>() -> BitNetTransformer<B> {
    let config = BitNetTransformerConfig {
        norms: NormPlacement::InLinear,
        feed_forward: FeedForwardKind::Gelu,
        tie_embeddings: false,
        norm_eps: 1e-12,
        ..BitNetTransformerConfig::new(2, 2, 1)
            .with_heads(1)
            .with_dim_head(2)
            .with_ff_mult(1)
            .with_quant(WeightQuant::None)
    };
    let mut model = config.init::<B>(&Default::default()).unwrap();
    let identity = || Param::from_tensor(Tensor::eye(2, &Default::default()));
    model.embed_tokens.weight = identity();
    model.lm_head.as_mut().unwrap().weight = identity();
    let block = &mut model.layers[0];
    let attention = &mut block.self_attn;
    for proj in
        [&mut attention.q_proj, &mut attention.k_proj, &mut attention.v_proj, &mut attention.o_proj]
    {
        proj.weight = identity();
    }
    block.mlp.down_proj.weight = Param::from_tensor(Tensor::zeros([2, 2], &Default::default()));
    model
}

fn attention_divides_by_root_d_twice_or_lacks_positions<B: Backend>() {
    // Token 1 at position 0 is (0, 1), token 0 at position 1 is (1, 0); their norms (0, √2) and
    // (√2, 0). The second is turned by one radian: q₁ = k₁ = √2·(cos 1, sin 1), k₀ = (0, √2).
    // Scores of position 1: q₁·k₀ / √2 = 2 sin 1 / √2 and q₁·k₁ / √2 = 2 / √2.
    let logits = transparent::<B>().forward(tokens(&[[1, 0]])).unwrap();
    let (first, second) = (2f64.sqrt() * 1f64.sin(), 2f64.sqrt());
    let (first, second) = (first.exp(), second.exp());
    // Mixed values √2·(w₁, w₀), normalised before the output projection, then the residual.
    let norm = |[a, b]: [f64; 2]| {
        let rms = ((a * a + b * b) / 2.0).sqrt();
        [a / rms, b / rms]
    };
    let [a, b] = norm([second, first]);
    let expected = norm([1.0 + a, b]).map(|logit| logit as f32);
    assert_close(&values(logits.narrow(1, 1, 1)), &expected, 1e-5, "logits of position 1");
}

/// A full-precision model in which every part has a say.
fn config() -> BitNetTransformerConfig {
    BitNetTransformerConfig {
        init_std: 0.5,
        ff_dim: 16,
        max_seq_len: 8,
        ..BitNetTransformerConfig::new(11, 8, 2).with_heads(4).with_dim_head(4)
    }
}

fn grouped_queries_sum_their_scores<B: Backend>() {
    // Two key/value heads for four query heads are four where neighbours are alike.
    let config = config().with_quant(WeightQuant::None);
    let grouped = config.clone().with_kv_heads(2);
    let grouped = grouped.init_seeded::<B>(1, &Default::default()).unwrap();
    let mut repeated = config.init_seeded::<B>(1, &Default::default()).unwrap();
    let twice = |linear: &BitLinear<B>| {
        let heads = linear.weight.val().reshape([8, 2, 1, 4]).repeat_dim(2, 2);
        Param::from_tensor(heads.reshape([8, 16]))
    };
    repeated.embed_tokens = grouped.embed_tokens.clone();
    for (to, from) in repeated.layers.iter_mut().zip(&grouped.layers) {
        to.self_attn.q_proj = from.self_attn.q_proj.clone();
        to.self_attn.k_proj.weight = twice(&from.self_attn.k_proj);
        to.self_attn.v_proj.weight = twice(&from.self_attn.v_proj);
        to.self_attn.o_proj = from.self_attn.o_proj.clone();
        to.mlp = from.mlp.clone();
    }
    let ids = tokens(&[[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]]);
    let expected = values(repeated.forward(ids.clone()).unwrap());
    assert_close(&values(grouped.forward(ids).unwrap()), &expected, 1e-5, "logits");
}

fn attention_over_heads_so_that_tokens_never_mix<B: Backend>() {
    let model = config().init_seeded::<B>(2, &Default::default()).unwrap();
    let last = |ids| values(model.forward(ids).unwrap().narrow(1, 3, 1));
    assert_differ(&last(tokens(&[[3, 1, 4, 5]])), &last(tokens(&[[2, 1, 4, 5]])), "last logits");
}

fn residual_from_the_embedding<B: Backend>() {
    // A second block that adds nothing must hand on what the first one gave.
    let two = config().with_quant(WeightQuant::None);
    let mut one = BitNetTransformerConfig { depth: 1, ..two.clone() }
        .init_seeded::<B>(3, &Default::default())
        .unwrap();
    let mut two = two.init_seeded::<B>(3, &Default::default()).unwrap();
    let zeros =
        |linear: &mut BitLinear<B>| linear.weight = Param::from_tensor(linear.weight.val() * 0.0);
    zeros(&mut two.layers[1].self_attn.o_proj);
    zeros(&mut two.layers[1].mlp.down_proj);
    one.embed_tokens = two.embed_tokens.clone();
    one.layers[0] = two.layers[0].clone();
    let ids = tokens(&[[3, 1, 4, 1]]);
    let expected = values(one.forward(ids.clone()).unwrap());
    assert_close(&values(two.forward(ids).unwrap()), &expected, 1e-6, "logits");
}

fn layer_swap_discards_the_weights<B: Backend>() {
    let linear: Linear<B> = LinearConfig::new(6, 4).init(&Default::default());
    let x: Tensor<B, 2> = random_tensor(4, [3, 6], 1.0);
    let expected = values(linear.forward(x.clone()));
    let config = BitLinearConfig::new(6, 4).with_quant(WeightQuant::None);
    let swapped = BitLinear::from_linear(linear, &config);
    assert_close(&values(swapped.forward(x)), &expected, 1e-6, "unquantised output");
}

fn layer_swap_converts_the_output_head<B: Backend>() {
    let config = BitNetTransformerConfig { tie_embeddings: false, ..config() };
    let mut model = config.init_seeded::<B>(5, &Default::default()).unwrap();
    let before = values(model.forward(tokens(&[[3, 1, 4]])).unwrap());
    // Doubling a column of the head doubles a logit; a quantised head would share the change.
    let mut factors = [1.0; 11];
    factors[7] = 2.0;
    let head = model.lm_head.as_mut().unwrap();
    head.weight = Param::from_tensor(head.weight.val() * tensor(&factors, [1, 11]));
    let after = values(model.forward(tokens(&[[3, 1, 4]])).unwrap());
    let expected: Vec<f32> =
        before.chunks(11).flat_map(|row| row.iter().zip(factors).map(|(l, f)| l * f)).collect();
    assert_close(&after, &expected, 1e-6, "logits");
}

fn gradient_leaks_through_the_scale<B: Backend>() {
    for quant in [WeightQuant::Ternary, WeightQuant::Binary] {
        let config = BitLinearConfig::new(6, 4).with_quant(quant);
        let mut layer = config.init::<Ad<B>>(&Default::default());
        layer.weight = Param::from_tensor(random_tensor(6, [6, 4], 1.0));
        let x = random_tensor::<Ad<B>, 2>(7, [3, 6], 1.0).require_grad();
        let dy = random_tensor::<Ad<B>, 2>(8, [3, 4], 1.0);
        let grads = (layer.forward(x.clone()) * dy.clone()).sum().backward();

        // dX = dY · W̃ᵀ and dW = X̃ᵀ · dY, and nothing else.
        let dx = dy.clone().matmul(layer.effective_weight().transpose());
        assert_close(&values(x.grad(&grads).unwrap()), &values(dx), 1e-6, "dX");
        let quantized = bitnet::quant::absmax_int8(x, &[1]).dequantize();
        let dw = quantized.transpose().matmul(dy);
        assert_close(&values(layer.weight.grad(&grads).unwrap()), &values(dw), 1e-6, "dW");
    }
}

fn round_without_a_straight_through_estimator<B: Backend>() {
    let x = tensor::<Ad<B>, 1>(&[0.2, 0.7, -1.6], [3]);
    let gradient = |y: &dyn Fn(Tensor<Ad<B>, 1>) -> Tensor<Ad<B>, 1>| {
        let x = x.clone().require_grad();
        let grads = y(x.clone()).mul(tensor(&[2.0, 3.0, 5.0], [3])).sum().backward();
        values(x.grad(&grads).unwrap())
    };
    assert_eq!(gradient(&|x| x.round()), [0.0; 3], "what would happen");
    assert_eq!(gradient(&|x| straight_through(x, Tensor::round)), [2.0, 3.0, 5.0]);
}

fn groups_slice_the_batch<B: Backend>() {
    let config = BitLinearConfig::new(8, 3).with_group_size(Some(2));
    let layer = config.init::<B>(&Default::default());
    let x: Tensor<B, 2> = random_tensor(9, [4, 8], 1.0);
    let together = values(layer.forward(x.clone()));
    let alone: Vec<f32> =
        (0..4).flat_map(|row| values(layer.forward(x.clone().narrow(0, row, 1)))).collect();
    assert_close(&together, &alone, 1e-6, "y");
}

fn requantising_dequantised_weights<B: Backend>() {
    // mean|w| = 4 / 4 = 1; half of the codes are zero, which halves the mean of the dequantised.
    let layer = layer::<B, 2, 2>([[0.25, -1.75], [2.0, 0.0]]);
    let scale = |weight| values(WeightQuant::Ternary.quantize(weight, None).scale)[0];
    assert_eq!(scale(layer.effective_weight()), 0.5, "what would happen");
    assert_eq!(values(layer.quantized_weight().unwrap().scale), [1.0]);
}

/// The gradients of all parameters, one after the other.
struct Collect<'a> {
    grads: &'a GradientsParams,
    values: Vec<f32>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let grad = self.grads.get::<B::InnerBackend, D>(param.id);
        self.values.extend(values(grad.unwrap()));
    }
}

fn accumulation_without_scaling<B: Backend>() {
    let model = config().init_seeded::<Ad<B>>(10, &Default::default()).unwrap();
    let inputs =
        tokens::<Ad<B>, 5>(&[[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9], [3, 2, 3, 8, 4]]);
    let targets = inputs.clone().flip([1]);
    let gradients = |start, len, share: f32| {
        let rows = |ids: &Tensor<Ad<B>, 2, Int>| ids.clone().narrow(0, start, len);
        let loss = cross_entropy(model.forward(rows(&inputs)).unwrap(), rows(&targets)) * share;
        GradientsParams::from_grads(loss.backward(), &model)
    };
    let collect = |grads: GradientsParams| {
        let mut collect = Collect { grads: &grads, values: Vec::new() };
        model.visit(&mut collect);
        collect.values
    };
    let mut accumulator = GradientsAccumulator::new();
    accumulator.accumulate(&model, gradients(0, 2, 0.5));
    accumulator.accumulate(&model, gradients(2, 2, 0.5));
    assert_close(&collect(accumulator.grads()), &collect(gradients(0, 4, 1.0)), 1e-5, "gradients");
}
