//! Layers that Flex computes by its own operations equal the composed forms, which NdArray computes:
//! of any shape, with inputs that are not finite, zero or tiny, and with gradients in bf16.

use bitnet::{BitLinear, BitLinearConfig, precision::Precision, quant::WeightQuant};
use burn::{
    backend::Autodiff,
    module::Param,
    nn::{Linear, LinearConfig},
    tensor::{Tensor, TensorData, backend::Backend},
};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use proptest::prelude::*;

fn layer<B: Backend>(weight: &[f32], d_output: usize, quant: WeightQuant) -> BitLinear<B> {
    let device = B::Device::default();
    let d_input = weight.len() / d_output;
    let mut linear: Linear<B> = LinearConfig::new(d_input, d_output).with_bias(false).init(&device);
    let data = TensorData::new(weight.to_vec(), [d_input, d_output]);
    linear.weight = Param::from_tensor(Tensor::from_data(data, &device));
    BitLinear::from_linear(linear, &BitLinearConfig::new(0, 0).with_quant(quant))
}

/// Output, gradient of the input and gradient of the weight, where the output's is `output` itself.
fn passes<B: Backend>(
    x: &[f32],
    weight: &[f32],
    d_output: usize,
    quant: WeightQuant,
    precision: Precision,
) -> [Vec<f32>; 3] {
    let device = Default::default();
    let mut layer = layer::<Autodiff<B>>(weight, d_output, quant);
    layer.set_precision(precision);
    let d_input = weight.len() / d_output;
    let data = TensorData::new(x.to_vec(), [x.len() / d_input, d_input]);
    let x = Tensor::<Autodiff<B>, 2>::from_data(data, &device).require_grad();
    let y = layer.forward(x.clone());
    let grads = (y.clone().square().sum() * 0.5).backward();
    let values = |t: Tensor<B, 2>| t.into_data().iter::<f32>().collect::<Vec<_>>();
    [
        values(y.inner()),
        values(x.grad(&grads).expect("the input is tracked")),
        values(layer.weight.grad(&grads).expect("the weight is tracked")),
    ]
}

/// Inputs and weight of a layer of any shape, and its number of outputs.
fn examples() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, usize)> {
    (1_usize..20, 1_usize..70, 1_usize..70).prop_flat_map(|(t, k, n)| {
        let x = prop::collection::vec(-3.0_f32..3.0, t * k);
        (x, prop::collection::vec(-0.1_f32..0.1, k * n), Just(n))
    })
}

/// Compares with the reference, as a share of its largest value.
fn compare(found: &[f32], reference: &[f32], tolerance: f32) -> Result<(), TestCaseError> {
    let highest = reference.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    for (found, reference) in found.iter().zip(reference) {
        let off = (found - reference).abs();
        prop_assert!(off <= tolerance * highest, "{found} for {reference}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_layer_of_any_shape_is_that_of_the_reference(
        (x, weight, d_output) in examples(),
        quant in prop::sample::select(vec![WeightQuant::Ternary, WeightQuant::Binary]),
    ) {
        let found = passes::<Flex>(&x, &weight, d_output, quant, Precision::F32);
        let reference = passes::<NdArray>(&x, &weight, d_output, quant, Precision::F32);
        for (found, reference) in found.iter().zip(&reference) {
            compare(found, reference, 2e-5)?;
        }
    }

    /// The output is the same; gradients are sums of up to 70 products of a rounded factor.
    #[test]
    fn bf16_rounds_gradients_alone(
        (x, weight, d_output) in examples(),
        quant in prop::sample::select(vec![WeightQuant::Ternary, WeightQuant::Binary]),
    ) {
        let rounded = passes::<Flex>(&x, &weight, d_output, quant, Precision::Bf16);
        let exact = passes::<Flex>(&x, &weight, d_output, quant, Precision::F32);
        prop_assert_eq!(&rounded[0], &exact[0]);
        compare(&rounded[1], &exact[1], 1e-2)?;
        compare(&rounded[2], &exact[2], 1e-2)?;
    }
}

#[test]
fn whole_numbers_come_out_exactly() {
    // The largest of each row is 127, so codes are the inputs; the mean magnitude is a half.
    let x: Vec<f32> =
        (0..3 * 8).map(|i| if i % 8 == 0 { 127.0 } else { (i * 5 - 60) as f32 }).collect();
    let weight = [1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, -1.0].repeat(2);
    let [y, ..] = passes::<Flex>(&x, &weight, 2, WeightQuant::Ternary, Precision::F32);
    for (row, y) in y.chunks_exact(2).enumerate() {
        for (column, &y) in y.iter().enumerate() {
            let expected: f32 = (0..8).map(|i| x[row * 8 + i] * weight[i * 2 + column]).sum();
            assert_eq!(y, expected * 0.5);
        }
    }
}

#[test]
fn what_is_not_finite_stays_visible_in_its_row() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = vec![1.0; 3 * 40];
        x[40 + 7] = bad;
        let [y, ..] = passes::<Flex>(&x, &[0.5; 40 * 5], 5, WeightQuant::Ternary, Precision::F32);
        assert!(y[..5].iter().chain(&y[10..]).all(|y| y.is_finite()));
        assert!(y[5..10].iter().all(|y| y.is_nan()), "{bad}: {y:?}");
    }
    let mut weight = vec![0.5; 40 * 5];
    weight[3] = f32::NAN;
    let [y, ..] = passes::<Flex>(&[1.0; 40], &weight, 5, WeightQuant::Ternary, Precision::F32);
    assert!(y.iter().all(|y| y.is_nan()));
}

#[test]
fn zeros_and_tiny_inputs_are_no_division_by_zero() {
    let x = [vec![0.0; 32], vec![1e-20; 32], vec![1e-6; 32]].concat();
    let weight: Vec<f32> = (0..32 * 3).map(|i| (i % 5) as f32 - 2.0).collect();
    let found = passes::<Flex>(&x, &weight, 3, WeightQuant::Ternary, Precision::F32);
    let reference = passes::<NdArray>(&x, &weight, 3, WeightQuant::Ternary, Precision::F32);
    assert!(found.iter().flatten().all(|value| value.is_finite()));
    for (found, reference) in found[0].iter().zip(&reference[0]) {
        assert!((found - reference).abs() <= 1e-9);
    }
}
