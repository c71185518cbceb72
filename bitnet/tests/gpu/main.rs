//! What the kernels of GPUs must keep: the shapes they take apart in pieces, beside ndarray, what is
//! exact, and that what is computed again has the same bits.

#![cfg(all(feature = "ndarray", feature = "cuda"))]
#![allow(clippy::unwrap_used, reason = "a failed test is what a failed unwrap should be")]

use bitnet::{
    BitLinear, BitLinearConfig, BitNetTransformer, BitNetTransformerConfig,
    loss::cross_entropy,
    nn::FeedForwardKind,
    optim::{AdamWConfig, Schedule, ScheduleKind, clip_global_norm},
    precision::Precision,
    quant::WeightQuant,
};
use burn::{
    backend::Autodiff as Ad,
    module::{Module, ModuleVisitor, Param},
    nn::LinearConfig,
    optim::{GradientsParams, Optimizer},
    tensor::{Int, Tensor, TensorData, backend::Backend},
};

fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The backend whose kernels these are.
type Gpu = burn_cuda::Cuda;

/// Relative to the length of a gradient. In TF32, which the products of attention have, and in bf16
/// inputs of quantisers move across rounding boundaries, and each that does changes a code.
const IN_TF32: f64 = 0.08;
const IN_BF16: f64 = 0.2;

/// Batch and length of sequences.
type Sizes = [usize; 2];

/// Text in which some tokens are much more frequent than others.
fn batch<B: Backend>([batch, seq]: Sizes) -> [Tensor<B, 2, Int>; 2] {
    let token = |i: usize| ((i * i + 7 * i) % 23 * (i % 5)) as i32;
    let part = |shift: usize| {
        let tokens = (0..batch * seq).map(|i| token(i / seq * 101 + i % seq + shift)).collect();
        Tensor::from_data(TensorData::new::<i32, _>(tokens, [batch, seq]), &Default::default())
    };
    [part(0), part(1)]
}

/// Loss, and the gradient of each parameter.
fn gradients<B: Backend>(
    model: &BitNetTransformer<Ad<B>>,
    sizes: Sizes,
) -> (Vec<f32>, GradientsParams) {
    let [inputs, targets] = batch::<Ad<B>>(sizes);
    let loss = cross_entropy(model.forward(inputs).unwrap(), targets);
    let grads = GradientsParams::from_grads(loss.backward(), model);
    (values(loss), grads)
}

/// The gradients in the order of the parameters.
fn in_order<B: Backend>(
    model: &BitNetTransformer<Ad<B>>,
    grads: &GradientsParams,
) -> Vec<Vec<f32>> {
    struct InOrder<'a>(&'a GradientsParams, Vec<Vec<f32>>);
    impl<B: Backend> ModuleVisitor<Ad<B>> for InOrder<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Ad<B>, D>>) {
            self.1.push(values(self.0.get::<B, D>(param.id).unwrap()));
        }
    }
    let mut found = InOrder(grads, Vec::new());
    model.visit(&mut found);
    found.1
}

fn model<B: Backend>(
    config: &BitNetTransformerConfig,
    precision: Precision,
) -> BitNetTransformer<Ad<B>> {
    config.init_seeded(3, &Default::default()).unwrap().with_precision(precision)
}

/// Compares loss and gradients with those of ndarray in f32.
fn compare<B: Backend>(
    config: &BitNetTransformerConfig,
    sizes: Sizes,
    precision: Precision,
    tolerance: f64,
) {
    let model_b = model::<B>(config, precision);
    let (loss, grads) = gradients(&model_b, sizes);
    let reference = model::<burn_ndarray::NdArray>(config, Precision::F32);
    let (expected_loss, expected) = gradients(&reference, sizes);
    let off = f64::from((loss[0] - expected_loss[0]).abs() / expected_loss[0]);
    assert!(off <= tolerance, "loss {loss:?} for {expected_loss:?}: {config:?}");
    let pairs = in_order(&model_b, &grads).into_iter().zip(in_order(&reference, &expected));
    for (index, (grad, expected)) in pairs.enumerate() {
        let length = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
        };
        let off = length(&mut grad.iter().zip(&expected).map(|(a, b)| a - b));
        let off = off / length(&mut expected.iter().copied());
        assert!(off <= tolerance, "parameter {index} is off by {off:e}: {config:?}");
    }
}

fn config() -> BitNetTransformerConfig {
    BitNetTransformerConfig {
        ff_dim: 96,
        max_seq_len: 160,
        init_std: 0.2,
        ..BitNetTransformerConfig::new(128, 64, 1)
    }
}

/// Sequences that are no multiple of a block, heads that share keys, and every width of a head that
/// has kernels of its own, and one that has none.
fn shapes_of_heads() -> Vec<(BitNetTransformerConfig, Sizes)> {
    let heads = |heads, kv_heads, dim_head, qk_norm| BitNetTransformerConfig {
        qk_norm,
        ..config().with_heads(heads).with_kv_heads(kv_heads).with_dim_head(dim_head)
    };
    vec![
        (heads(2, 2, 32, false), [3, 70]),
        (heads(4, 2, 32, true), [2, 130]),
        (heads(2, 1, 64, true), [2, 65]),
        (heads(2, 2, 128, false), [1, 96]),
        (heads(4, 4, 16, true), [2, 33]),
    ]
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn heads_of_every_kind_have_the_gradients_of_ndarray() {
    for (config, sizes) in shapes_of_heads() {
        compare::<Gpu>(&config, sizes, Precision::F32, IN_TF32);
    }
}

/// More columns than units of a cube, more tokens than cubes, and widths that are no multiple of
/// four; and the other gate, and the other quantiser.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn wide_rows_have_the_gradients_of_ndarray() {
    let wide =
        BitNetTransformerConfig { ff_dim: 1040, feed_forward: FeedForwardKind::Swiglu, ..config() };
    compare::<Gpu>(&wide, [2, 20], Precision::F32, IN_TF32);
    let long = BitNetTransformerConfig { ff_dim: 48, ..config().with_heads(2) };
    compare::<Gpu>(&long, [12, 100], Precision::F32, IN_TF32);
    let odd = BitNetTransformerConfig {
        ff_dim: 50,
        tie_embeddings: false,
        ..BitNetTransformerConfig::new(101, 30, 1).with_heads(1).with_dim_head(6)
    };
    compare::<Gpu>(&odd, [2, 20], Precision::F32, IN_TF32);
    compare::<Gpu>(&odd.with_quant(WeightQuant::Binary), [2, 20], Precision::F32, IN_TF32);
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn bf16_has_the_gradients_of_ndarray() {
    if !Precision::Bf16.is_supported::<Gpu>(&Default::default()) {
        return;
    }
    for (config, sizes) in shapes_of_heads() {
        compare::<Gpu>(&config, sizes, Precision::Bf16, IN_BF16);
    }
    let wide = BitNetTransformerConfig { ff_dim: 520, ..config() };
    compare::<Gpu>(&wide, [8, 100], Precision::Bf16, IN_BF16);
}

/// Two steps of training, twice: losses, norms, and the parameters after them.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn a_repeated_run_has_the_same_bits() {
    let config = BitNetTransformerConfig { qk_norm: true, ..config().with_heads(2) };
    let schedule = Schedule {
        kind: ScheduleKind::Constant,
        peak: 1e-3,
        second_peak: 0.0,
        final_fraction: 1.0,
        decay_fraction: 0.0,
        warmup: 0,
        steps: 10,
        weight_decay: 0.1,
    };
    let bf16 = Precision::Bf16.is_supported::<Gpu>(&Default::default());
    for precision in [Some(Precision::F32), bf16.then_some(Precision::Bf16)].into_iter().flatten() {
        let run = || {
            let mut model = model::<Gpu>(&config, precision);
            let mut optimizer = AdamWConfig { betas: (0.9, 0.95), epsilon: 1e-8, schedule }.init();
            let mut seen = Vec::new();
            for _ in 0..2 {
                let (loss, grads) = gradients(&model, [6, 150]);
                seen.push(bits(&loss));
                seen.extend(in_order(&model, &grads).iter().map(|grad| bits(grad)));
                let (grads, norm) = clip_global_norm(&model, grads, 0.1);
                seen.push(bits(&values(norm)));
                model = optimizer.step(1e-3, model, grads);
            }
            let (loss, _) = gradients(&model, [6, 150]);
            seen.push(bits(&loss));
            seen
        };
        assert!(run() == run(), "a run in {precision} is another one when repeated");
    }
}

/// Output, gradient of the input and gradient of the weight of a layer, where the output's is
/// `output` itself.
fn passes<B: Backend>(
    x: &[f32],
    weight: &[f32],
    d_output: usize,
    precision: Precision,
) -> [Vec<f32>; 3] {
    let device = Default::default();
    let d_input = weight.len() / d_output;
    let mut linear = LinearConfig::new(d_input, d_output).with_bias(false).init(&device);
    let data = TensorData::new(weight.to_vec(), [d_input, d_output]);
    linear.weight = Param::from_tensor(Tensor::from_data(data, &device));
    let mut layer = BitLinear::<Ad<B>>::from_linear(linear, &BitLinearConfig::new(0, 0));
    layer.set_precision(precision);
    let data = TensorData::new(x.to_vec(), [x.len() / d_input, d_input]);
    let x = Tensor::<Ad<B>, 2>::from_data(data, &device).require_grad();
    let y = layer.forward(x.clone());
    let grads = (y.clone().square().sum() * 0.5).backward();
    [values(y.inner()), values(x.grad(&grads).unwrap()), values(layer.weight.grad(&grads).unwrap())]
}

/// The largest of each row is 127, so that codes are the inputs, and the mean magnitude is a half.
#[test]
#[ignore = "needs an NVIDIA GPU"]
fn whole_numbers_come_out_exactly() {
    let bf16 = Precision::Bf16.is_supported::<Gpu>(&Default::default());
    for (rows, width, outputs) in [(3, 8, 2), (130, 64, 192), (64, 520, 264)] {
        let value = |i: usize| if i % width == 0 { 127.0 } else { (i * 5 % 200) as f32 - 100.0 };
        let x: Vec<f32> = (0..rows * width).map(value).collect();
        let weight: Vec<f32> =
            (0..width * outputs).map(|i| [1.0, 0.0, -1.0, 0.0][(i + i / outputs) % 4]).collect();
        let expected: Vec<f32> = (0..rows * outputs)
            .map(|i| {
                let (row, column) = (i / outputs, i % outputs);
                let product = |j| x[row * width + j] * weight[j * outputs + column];
                (0..width).map(product).sum::<f32>() * 0.5
            })
            .collect();
        for precision in [Precision::F32, Precision::Bf16] {
            if precision == Precision::F32 || bf16 {
                let [y, ..] = passes::<Gpu>(&x, &weight, outputs, precision);
                assert!(y == expected, "{rows} x {width} x {outputs} in {precision}");
            }
        }
    }
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn what_is_not_finite_stays_visible_in_its_row() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0; 3 * 40];
        x[40 + 7] = bad;
        let [y, ..] = passes::<Gpu>(&x, &[0.5; 40 * 5], 5, Precision::F32);
        assert!(y[..5].iter().chain(&y[10..]).all(|y| y.is_finite()), "{bad}: {y:?}");
        assert!(y[5..10].iter().all(|y| y.is_nan()), "{bad}: {y:?}");
    }
    let mut weight = vec![0.5; 40 * 5];
    weight[3] = f32::NAN;
    let [y, ..] = passes::<Gpu>(&[1.0; 40], &weight, 5, Precision::F32);
    assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
}

#[test]
#[ignore = "needs an NVIDIA GPU"]
fn zeros_and_tiny_inputs_are_no_division_by_zero() {
    let x = [vec![0.0; 32], vec![1e-20; 32], vec![1e-6; 32]].concat();
    let weight: Vec<f32> = (0..32 * 3).map(|i| (i % 5) as f32 - 2.0).collect();
    let found = passes::<Gpu>(&x, &weight, 3, Precision::F32);
    let reference = passes::<burn_ndarray::NdArray>(&x, &weight, 3, Precision::F32);
    assert!(found.iter().flatten().all(|value| value.is_finite()));
    for (found, reference) in found[0].iter().zip(&reference[0]) {
        assert!((found - reference).abs() <= 1e-9);
    }
}
