//! [`BitLinear`] by hand-worked values, as a replacement of a linear layer, and one example at a
//! time.

use crate::common::{
    Ad, assert_close, assert_differ, bits, for_each_backend, random_tensor, tensor, values,
};
use bitnet::{
    BitLinear, BitLinearConfig,
    nn::InnerNorm,
    quant::{ActivationQuant, WeightQuant},
};
use burn::{
    module::{Module, Param},
    nn::{Linear, LinearConfig, LinearLayout},
    record::{FullPrecisionSettings, NamedMpkBytesRecorder, Recorder},
    tensor::{Tensor, backend::Backend},
};

for_each_backend!(
    ternary_by_hand,
    a_part_of_the_quantisation_by_hand,
    ties_go_to_even,
    binary_by_hand,
    paper_activations_by_hand,
    groups_by_hand,
    norms_by_hand,
    a_zero_row_gives_the_bias,
    the_bias_is_added_once,
    full_precision_is_a_plain_linear,
    from_linear_keeps_the_weights,
    from_linear_takes_any_layout,
    linear_records_load,
    any_rank_of_input,
    examples_do_not_touch_each_other,
    one_scale_a_tensor_couples_them,
);

/// Sums and products of these tests are short; only the last digits may differ.
const TOLERANCE: f32 = 1e-6;

/// A layer of the given weight `[d_input, d_output]`.
fn layer<B: Backend, const I: usize, const O: usize>(
    config: BitLinearConfig,
    weight: [[f32; O]; I],
) -> BitLinear<B> {
    let mut layer = BitLinearConfig { d_input: I, d_output: O, ..config }.init(&Default::default());
    layer.weight = Param::from_tensor(tensor(weight.as_flattened(), [I, O]));
    layer
}

fn ternary() -> BitLinearConfig {
    BitLinearConfig::new(1, 1)
}

fn effective<B: Backend>(layer: &BitLinear<B>) -> Vec<f32> {
    values(layer.effective_weight())
}

fn ternary_by_hand<B: Backend>() {
    // mean|w| = (0.25 + 1.75 + 2 + 0) / 4 = 1, so the codes are the rounded, clamped weights.
    let mut layer = layer::<B, 2, 2>(ternary(), [[0.25, -1.75], [2.0, 0.0]]);
    assert_eq!(effective(&layer), [0.0, -1.0, 1.0, 0.0]);
    // s = 127 / 1; x·s = (127, −63.5), and −63.5 is rounded to the even −64.
    let x = tensor(&[1.0, -0.5], [1, 2]);
    assert_close(&values(layer.forward(x.clone())), &[-64.0 / 127.0, -1.0], TOLERANCE, "y");
    // Twice the weights: mean|w| = 2, the same codes, twice the output.
    layer.weight = layer.weight.map(|w| w * 2.0);
    assert_close(&values(layer.forward(x)), &[-128.0 / 127.0, -2.0], TOLERANCE, "y");
}

fn a_part_of_the_quantisation_by_hand<B: Backend>() {
    // As above: half of the way to the codes (0, −1, 1, 0), and from −0.5 to −64 / 127.
    let mut layer = layer::<B, 2, 2>(ternary(), [[0.25, -1.75], [2.0, 0.0]]);
    layer.set_quant_strength(0.5);
    assert_close(&effective(&layer), &[0.125, -1.375, 1.5, 0.0], TOLERANCE, "weight");
    let x = tensor(&[1.0, -0.5], [1, 2]);
    let second = (-0.5 - 64.0 / 127.0) / 2.0;
    let y = [0.125 + 1.5 * second, -1.375];
    assert_close(&values(layer.forward(x.clone())), &y, TOLERANCE, "y");
    // Nothing of it, and all of it.
    layer.set_quant_strength(0.0);
    assert_close(&values(layer.forward(x.clone())), &[-0.75, -1.75], TOLERANCE, "y");
    layer.set_quant_strength(1.0);
    assert_close(&values(layer.forward(x)), &[-64.0 / 127.0, -1.0], TOLERANCE, "y");
}

fn ties_go_to_even<B: Backend>() {
    // mean|w| = 4 / 4 = 1: ±0.5 lie between the codes 0 and ±1, 1.5 between 1 and 2.
    let layer = layer::<B, 4, 1>(ternary(), [[0.5], [-0.5], [1.5], [1.5]]);
    assert_eq!(effective(&layer), [0.0, 0.0, 1.0, 1.0]);
    // max|x| = 127, s = 1: 0.5 → 0, 1.5 → 2, 2.5 → 2, and so on the other side.
    let x: Tensor<B, 2> = tensor(&[127.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5], [1, 7]);
    let codes = bitnet::quant::absmax_int8(x, &[1]).codes;
    assert_eq!(values(codes), [127.0, 0.0, 2.0, 2.0, 0.0, -2.0, -2.0]);
}

fn binary_by_hand<B: Backend>() {
    // Mean (3 − 1 + 1 + 1) / 4 = 1; centred (2, −2, 0, 0); mean|w| of the uncentred 6 / 4 = 1.5.
    let weight = [[3.0, -1.0], [1.0, 1.0]];
    let layer_of = |quant| layer::<B, 2, 2>(ternary().with_quant(quant), weight);
    // The authors' code has sign(0) = 0, their paper Sign(0) = −1.
    assert_eq!(effective(&layer_of(WeightQuant::Binary)), [1.5, -1.5, 0.0, 0.0]);
    assert_eq!(effective(&layer_of(WeightQuant::BinaryPaper)), [1.5, -1.5, -1.5, -1.5]);
}

fn paper_activations_by_hand<B: Backend>() {
    // An identity to look through: α = 1/9·3 = 1/3, codes ±1, β = 1/3, so that output j is
    // (2·x̃_j − Σ x̃) / 3.
    let identity = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let config = ternary().with_quant(WeightQuant::BinaryPaper);
    let through = |x: [f32; 3]| {
        let sum: f32 = x.iter().sum();
        x.map(|x| (2.0 * x - sum) / 3.0)
    };
    let rows = tensor(&[1.0, -0.5, 0.25, 2.0, 0.0, -1.0], [2, 3]);

    // Inference, one γ a token. First row: γ = 1, x·128 = (128 → 127, −64, 32).
    // Second row: γ = 2, x·64 = (128 → 127, 0, −64).
    let layer_ = layer::<B, 3, 3>(config.clone(), identity);
    let expected = [through([127.0 / 128.0, -0.5, 0.25]), through([127.0 / 64.0, 0.0, -1.0])];
    let y = values(layer_.forward(rows.clone()));
    assert_close(&y, expected.as_flattened(), TOLERANCE, "inference");

    // Before a non-linearity, η = min x goes first and is not added back.
    // First row: η = −0.5, (x − η)·128 = (192 → 127, 0, 96).
    // Second row: η = −1, (x − η)·64 = (192 → 127, 64, 0).
    let before = layer::<B, 3, 3>(config.clone().with_before_nonlinearity(true), identity);
    let expected = [through([127.0 / 128.0, 0.0, 0.75]), through([127.0 / 64.0, 1.0, 0.0])];
    let y = values(before.forward(rows));
    assert_close(&y, expected.as_flattened(), TOLERANCE, "before a non-linearity");

    // Training, one γ = 2 for the tensor. First row: x·64 = (64, −32, 16).
    let layer_ = layer::<Ad<B>, 3, 3>(config, identity);
    let rows = tensor(&[1.0, -0.5, 0.25, 2.0, 0.0, -1.0], [2, 3]);
    let expected = [through([1.0, -0.5, 0.25]), through([127.0 / 64.0, 0.0, -1.0])];
    let y = values(layer_.forward(rows));
    assert_close(&y, expected.as_flattened(), TOLERANCE, "training");
}

fn groups_by_hand<B: Backend>() {
    // Column 0: (1, 1) has the mean 1; (4, 0) has 2, so 4/2 = 2 → 1.
    // Column 1: (0.25, −0.75) has the mean 0.5, so 0.5 → 0 (even), −1.5 → −1; (8, 0) has 4.
    let weight = [[1.0, 0.25], [1.0, -0.75], [4.0, 8.0], [0.0, 0.0]];
    let grouped = layer::<B, 4, 2>(ternary().with_group_size(Some(2)), weight);
    assert_eq!(effective(&grouped), [1.0, 0.0, 1.0, -0.5, 2.0, 4.0, 0.0, 0.0]);
    let scales = grouped.quantized_weight().unwrap().scale;
    assert_eq!(scales.dims(), [2, 1, 2]);
    assert_eq!(values(scales), [1.0, 0.5, 2.0, 4.0]);

    // b1 has one scale a group over all outputs: mean|w| of rows 0–1 is 3/4, of rows 2–3 is 3;
    // the means are (1 + 1 + 0.25 − 0.75) / 4 = 0.375 and 3.
    let paper = ternary().with_quant(WeightQuant::BinaryPaper).with_group_size(Some(2));
    let paper = layer::<B, 4, 2>(paper, weight);
    assert_eq!(effective(&paper), [0.75, -0.75, 0.75, -0.75, 3.0, 3.0, -3.0, -3.0]);
}

fn norms_by_hand<B: Backend>() {
    let x: Tensor<B, 2> = tensor(&[3.0, -1.0], [1, 2]);
    // RMS: √((9 + 1) / 2) = √5. LayerNorm: mean 1, centred (2, −2), standard deviation 2.
    let rms = values(InnerNorm::Rms.apply(x.clone(), 0.0));
    assert_close(&rms, &[3.0 / 5f32.sqrt(), -1.0 / 5f32.sqrt()], TOLERANCE, "rms");
    assert_close(&values(InnerNorm::Layer.apply(x.clone(), 0.0)), &[1.0, -1.0], TOLERANCE, "layer");
    // ε stands under the root: √(5 + 4) = 3, √(4 + 5) = 3.
    assert_close(&values(InnerNorm::Rms.apply(x.clone(), 4.0)), &[1.0, -1.0 / 3.0], TOLERANCE, "ε");
    let layer = values(InnerNorm::Layer.apply(x.clone(), 5.0));
    assert_close(&layer, &[2.0 / 3.0, -2.0 / 3.0], TOLERANCE, "ε");
    assert_eq!(values(InnerNorm::None.apply(x, 1.0)), [3.0, -1.0]);
}

fn a_zero_row_gives_the_bias<B: Backend>() {
    for norm in [InnerNorm::None, InnerNorm::Rms, InnerNorm::Layer] {
        for quant in [WeightQuant::Ternary, WeightQuant::BinaryPaper, WeightQuant::None] {
            let config = ternary().with_quant(quant).with_norm(norm).with_bias(true);
            let mut layer = layer::<B, 2, 2>(config, [[1.0, -2.0], [0.5, 0.0]]);
            layer.bias = Some(Param::from_tensor(tensor(&[0.25, -4.0], [2])));
            let y = layer.forward(tensor(&[0.0, 0.0], [1, 2]));
            assert_eq!(values(y), [0.25, -4.0], "{norm:?} {quant:?}");
        }
    }
}

fn the_bias_is_added_once<B: Backend>() {
    let weight = [[0.25, -1.75], [2.0, 0.0]];
    let x = tensor(&[1.0, -0.5, 0.25, 1.0], [2, 2]);
    let without = values(layer::<B, 2, 2>(ternary(), weight).forward(x.clone()));
    let mut layer = layer::<B, 2, 2>(ternary().with_bias(true), weight);
    assert_eq!(values(layer.forward(x.clone())), without, "a new bias is zero");
    layer.bias = Some(Param::from_tensor(tensor(&[16.0, -32.0], [2])));
    let with = values(layer.forward(x));
    let expected: Vec<f32> =
        without.iter().zip([16.0, -32.0, 16.0, -32.0]).map(|(y, b)| y + b).collect();
    assert_eq!(with, expected);
}

fn full_precision_is_a_plain_linear<B: Backend>() {
    // The full-precision twin ignores the input quantiser, too.
    let layer =
        layer::<B, 2, 2>(ternary().with_quant(WeightQuant::None), [[0.4, -1.6], [2.0, 0.1]]);
    // (0.3·0.4 + 0.7·2, −0.3·1.6 + 0.7·0.1)
    let y = values(layer.forward(tensor(&[0.3, 0.7], [1, 2])));
    assert_close(&y, &[1.52, -0.41], TOLERANCE, "y");
    assert!(layer.quantized_weight().is_none());
}

/// Ternary weights and int8 activations, one multiplication after the other.
fn reference(x: &[f32], weight: &[f32], bias: &[f32], d_output: usize) -> Vec<f32> {
    let gamma = weight.iter().map(|w| w.abs()).sum::<f32>() / weight.len() as f32;
    let code = |w: f32| (w / gamma).round_ties_even().clamp(-1.0, 1.0);
    let mut y = Vec::new();
    for token in x.chunks(weight.len() / d_output) {
        let top = token.iter().fold(1e-5, |top: f32, x| top.max(x.abs()));
        for j in 0..d_output {
            let products = token
                .iter()
                .enumerate()
                .map(|(i, x)| (x * 127.0 / top).round_ties_even() * code(weight[i * d_output + j]));
            y.push(products.sum::<f32>() * top / 127.0 * gamma + bias[j]);
        }
    }
    y
}

fn from_linear_keeps_the_weights<B: Backend>() {
    let device = Default::default();
    let linear: Linear<B> = LinearConfig::new(24, 10).init(&device);
    let weight = values(linear.weight.val());
    let bias = values(linear.bias.as_ref().unwrap().val());
    // The sizes and the bias of the configuration are those of no layer in particular.
    let layer = BitLinear::from_linear(linear, &BitLinearConfig::new(1, 1));
    assert_eq!(bits(&values(layer.weight.val())), bits(&weight));
    assert_eq!(bits(&values(layer.bias.as_ref().unwrap().val())), bits(&bias));

    let x: Tensor<B, 2> = random_tensor(1, [5, 24], 1.0);
    let expected = reference(&values(x.clone()), &weight, &bias, 10);
    assert_close(&values(layer.forward(x)), &expected, 1e-5, "y");

    let linear: Linear<B> = LinearConfig::new(24, 10).with_bias(false).init(&device);
    assert!(BitLinear::from_linear(linear, &ternary().with_bias(true)).bias.is_none());
}

fn from_linear_takes_any_layout<B: Backend>() {
    // Burn makes the transposed layout on the first use; until then its shape looks swapped.
    let config = LinearConfig::new(24, 10).with_layout(LinearLayout::Col);
    let linear: Linear<B> = config.init(&Default::default());
    let grouped = ternary().with_group_size(Some(8));
    let layer = BitLinear::from_linear(linear, &grouped);
    assert_eq!(layer.forward(Tensor::ones([3, 24], &Default::default())).dims(), [3, 10]);
    assert_eq!(layer.weight.dims(), [24, 10]);
}

fn linear_records_load<B: Backend>() {
    let device = Default::default();
    let linear: Linear<B> = LinearConfig::new(6, 4).init(&device);
    // Burn draws random weights on their first use, in every clone anew.
    linear.forward(Tensor::<B, 1>::ones([6], &device));
    let expected = BitLinear::from_linear(linear.clone(), &ternary());
    let x: Tensor<B, 2> = random_tensor(2, [3, 6], 1.0);
    let expected = values(expected.forward(x.clone()));

    let recorder = NamedMpkBytesRecorder::<FullPrecisionSettings>::default();
    let bytes = Recorder::<B>::record(&recorder, linear.into_record(), ()).unwrap();
    let record = Recorder::<B>::load(&recorder, bytes, &device).unwrap();
    let layer = BitLinearConfig::new(6, 4).with_bias(true).init::<B>(&device);
    assert_eq!(values(layer.load_record(record).forward(x)), expected);
}

fn any_rank_of_input<B: Backend>() {
    let config = BitLinearConfig::new(8, 3).with_norm(InnerNorm::Rms);
    let layer = config.init::<B>(&Default::default());
    let x: Tensor<B, 4> = random_tensor(3, [2, 3, 2, 8], 1.0);
    let y = layer.forward(x.clone());
    assert_eq!(y.dims(), [2, 3, 2, 3]);
    let expected = bits(&values(y));
    let y = layer.forward(x.clone().reshape([6, 2, 8]));
    assert_eq!(y.dims(), [6, 2, 3]);
    assert_eq!(bits(&values(y)), expected);
    let y = layer.forward(x.clone().reshape([12, 8]));
    assert_eq!(y.dims(), [12, 3]);
    assert_eq!(bits(&values(y)), expected);
    let y = layer.forward(x.slice([0..1, 0..1, 0..1, 0..8]).reshape([8]));
    assert_eq!(y.dims(), [3]);
    assert_close(
        &values(y),
        &expected[..3].iter().map(|&b| f32::from_bits(b)).collect::<Vec<_>>(),
        TOLERANCE,
        "rank 1",
    );
}

/// Output and input gradient of the first of two examples, for a given second one.
fn first_of_two<B: Backend>(config: &BitLinearConfig, second: f32) -> (Vec<f32>, Vec<f32>) {
    let weight = random_tensor(4, [8, 5], 1.0);
    let mut layer = config.init::<Ad<B>>(&Default::default());
    layer.weight = Param::from_tensor(weight);
    let x: Tensor<Ad<B>, 2> = random_tensor(5, [2, 8], 1.0);
    let x = Tensor::cat(vec![x.clone().narrow(0, 0, 1), x.narrow(0, 1, 1) * second], 0);
    let x = x.require_grad();
    let y = layer.forward(x.clone());
    let grads = y.clone().square().sum().backward();
    (values(y.narrow(0, 0, 1)), values(x.grad(&grads).unwrap().narrow(0, 0, 1)))
}

fn examples_do_not_touch_each_other<B: Backend>() {
    for quant in [WeightQuant::Ternary, WeightQuant::Binary, WeightQuant::None] {
        for group_size in [None, Some(4)] {
            for norm in [InnerNorm::Rms, InnerNorm::None] {
                let config = BitLinearConfig::new(8, 5)
                    .with_quant(quant)
                    .with_group_size(group_size)
                    .with_norm(norm);
                let small = first_of_two::<B>(&config, 1.0);
                let large = first_of_two::<B>(&config, -1000.0);
                assert_eq!(small, large, "{quant:?} {group_size:?} {norm:?}");
            }
        }
    }
}

fn one_scale_a_tensor_couples_them<B: Backend>() {
    let config = BitLinearConfig::new(8, 5).with_activation(ActivationQuant::Int8PerTensor);
    let (small, _) = first_of_two::<B>(&config, 1.0);
    let (large, _) = first_of_two::<B>(&config, -1000.0);
    assert_differ(&small, &large, "the second example sets the scale");
}
