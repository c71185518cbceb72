//! What holds of the quantisers for any input, subnormal and huge ones included.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{Ad, assert_close, bits, for_each_backend, randoms, tensor, values};
use bitnet::{
    BitLinear, BitLinearConfig,
    nn::rms_normalize,
    quant::{
        WeightQuant, absmax_int8, absmax_paper, absmax_paper_non_negative, straight_through,
        ternary_absmean,
    },
};
use burn::{
    module::Param,
    tensor::{Tensor, backend::Backend},
};
use proptest::prelude::*;

for_each_backend!(
    weights_have_few_values,
    activation_codes_are_bytes,
    scales_are_as_precise_as_floats,
    straight_through_is_exact,
    requantising_shrinks_the_scale,
);

fn config() -> ProptestConfig {
    // The generators have no state worth keeping in a file.
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

/// Any float that the sums of a test cannot push to infinity, often a special one.
fn float() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![
        4 => -3.0f32..3.0,
        2 => -0.05f32..0.05,
        1 => Just(0.0),
        1 => Just(-0.0),
        1 => Just(0.5),
        1 => -1e36f32..1e36,
        1 => (0u32..0x0080_0000).prop_map(f32::from_bits),
        1 => (0u32..0x0080_0000).prop_map(|bits| -f32::from_bits(bits)),
    ]
}

/// A weight matrix with its scales: one for the tensor, or one a group of inputs and output.
#[derive(Debug, Clone)]
struct Weight {
    d_input: usize,
    d_output: usize,
    group_size: Option<usize>,
    values: Vec<f32>,
}

impl Weight {
    fn of(value: impl Strategy<Value = f32> + Clone) -> impl Strategy<Value = Self> {
        (1usize..5, 1usize..5, 1usize..6, any::<bool>()).prop_flat_map(
            move |(groups, size, d_output, grouped)| {
                let d_input = groups * size;
                let group_size = grouped.then_some(size);
                prop::collection::vec(value.clone(), d_input * d_output)
                    .prop_map(move |values| Self { d_input, d_output, group_size, values })
            },
        )
    }

    fn layer<B: Backend>(&self, quant: WeightQuant) -> BitLinear<B> {
        let config = BitLinearConfig::new(self.d_input, self.d_output)
            .with_quant(quant)
            .with_group_size(self.group_size);
        let mut layer = config.init::<B>(&Default::default());
        layer.weight = Param::from_tensor(tensor(&self.values, [self.d_input, self.d_output]));
        layer
    }

    /// How many different values share a scale at most.
    fn distinct(&self, effective: &[f32]) -> usize {
        let rows = self.group_size.unwrap_or(self.d_input);
        let columns = if self.group_size.is_some() { 1 } else { self.d_output };
        let mut shared = BTreeMap::<_, BTreeSet<u32>>::new();
        for (index, value) in effective.iter().enumerate() {
            let scale = (index / self.d_output / rows, index % self.d_output / columns);
            // Zeros of both signs are one value.
            shared.entry(scale).or_default().insert((value + 0.0).to_bits());
        }
        shared.values().map(BTreeSet::len).max().unwrap_or(0)
    }
}

fn weights_have_few_values<B: Backend>() {
    proptest!(config(), |(weight in Weight::of(float()))| {
        for (quant, allowed) in [
            (WeightQuant::Ternary, [-1.0, 0.0, 1.0].as_slice()),
            // Zero only where a weight equals the mean.
            (WeightQuant::Binary, &[-1.0, 0.0, 1.0]),
            (WeightQuant::BinaryPaper, &[-1.0, 1.0]),
        ] {
            // With gradients, where the straight-through estimator has its part in it.
            let layer = weight.layer::<Ad<B>>(quant);
            let effective = values(layer.effective_weight());
            prop_assert!(effective.iter().all(|value| value.is_finite()), "{effective:?}");
            prop_assert!(weight.distinct(&effective) <= allowed.len(), "{quant:?} {effective:?}");

            let quantized = layer.quantized_weight().unwrap();
            let codes = values(quantized.codes.clone());
            prop_assert!(codes.iter().all(|code| allowed.contains(code)), "{quant:?} {codes:?}");
            // What is packed is what is computed with.
            prop_assert_eq!(values(quantized.dequantize()), effective);
        }
    });
}

fn activation_codes_are_bytes<B: Backend>() {
    let row = prop::collection::vec(float(), 12);
    proptest!(config(), |(x in row)| {
        let x: Tensor<B, 2> = tensor(&x, [3, 4]);
        for dims in [[1].as_slice(), &[0, 1]] {
            let int8 = absmax_int8(x.clone(), dims);
            let paper = absmax_paper(x.clone(), dims);
            let non_negative = absmax_paper_non_negative(x.clone(), dims);
            for (quantized, range) in [
                (int8.clone(), -128.0..=127.0),
                (paper, -127.0..=127.0),
                (non_negative, 0.0..=127.0),
            ] {
                let codes = values(quantized.codes);
                for code in codes {
                    prop_assert!(code.fract() == 0.0 && range.contains(&code), "{code}");
                }
            }
            // Nothing is off by more than half a step, and a little for the rounding of x·s.
            let steps = (int8.clone().dequantize() - x.clone()) * int8.scale;
            let off = values(steps);
            prop_assert!(off.iter().all(|steps| steps.abs() <= 0.50002), "{off:?}");
        }
    });
}

fn scales_are_as_precise_as_floats<B: Backend>() {
    // Many at once: vector units have reciprocals of a few bits, and some backends use them.
    let close = |actual: Vec<f32>, expected: Vec<f32>| {
        for (actual, expected) in actual.into_iter().zip(expected) {
            assert!((actual / expected - 1.0).abs() < 1e-6, "{actual} instead of {expected}");
        }
    };
    let x = randoms(1, 200, 1.0);
    let mean: Vec<f32> = x.chunks(2).map(|pair| (pair[0].abs() + pair[1].abs()) / 2.0).collect();
    let top: Vec<f32> = x.chunks(2).map(|pair| pair[0].abs().max(pair[1].abs())).collect();
    let (weight, tokens) = (tensor::<B, 2>(&x, [200, 1]), tensor::<B, 2>(&x, [100, 2]));
    close(values(WeightQuant::Ternary.quantize(weight.clone(), Some(2)).scale), mean.clone());
    close(values(WeightQuant::Binary.quantize(weight, Some(2)).scale), mean);
    let scales = top.iter().map(|top| 127.0 / top).collect();
    close(values(absmax_int8(tokens.clone(), &[1]).scale), scales);
    let scales = top.iter().map(|top| 128.0 / top).collect();
    close(values(absmax_paper(tokens.clone(), &[1]).scale), scales);

    let norms = values(rms_normalize(tokens, 0.0).square().mean_dim(1));
    close(norms, vec![1.0; 100]);
}

fn straight_through_is_exact<B: Backend>() {
    let row = || prop::collection::vec(float(), 8);
    proptest!(config(), |(x in row(), upstream in row())| {
        let quantize = |x: Tensor<Ad<B>, 1>| {
            let (codes, scale) = ternary_absmean(x, &[0]);
            codes * scale
        };
        let x: Tensor<Ad<B>, 1> = tensor(&x, [8]);
        // Adding zero makes negative zeros positive, which is all that may change.
        let expected = values(quantize(x.clone()).add_scalar(0.0));

        let x = x.require_grad();
        let y = straight_through(x.clone(), quantize);
        prop_assert_eq!(bits(&values(y.clone())), bits(&expected));
        let grads = (y * tensor(&upstream, [8])).sum().backward();
        // GPUs may make zeros of subnormal numbers in any multiplication.
        let upstream = tensor::<B, 1>(&upstream, [8]) * Tensor::ones([8], &Default::default());
        prop_assert_eq!(bits(&values(x.grad(&grads).unwrap())), bits(&values(upstream)));
    });
}

fn requantising_shrinks_the_scale<B: Backend>() {
    proptest!(config(), |(weight in Weight::of(-3.0f32..3.0))| {
        let weight = Weight { group_size: None, ..weight };
        let count = weight.values.len() as f64;
        let mean = weight.values.iter().map(|w| f64::from(w.abs())).sum::<f64>() / count;
        prop_assume!(mean > 1e-3);
        let layer = weight.layer::<B>(WeightQuant::Ternary);
        let packed = layer.quantized_weight().unwrap();
        assert_close(&values(packed.scale.clone()), &[mean as f32], 1e-5, "scale of the latent");

        let codes = values(packed.codes);
        let zeros = codes.iter().filter(|&&code| code == 0.0).count() as f64 / count;
        let again = WeightQuant::Ternary.quantize(layer.effective_weight(), None);
        prop_assert_eq!(values(again.codes), codes);
        let shrunk = (mean * (1.0 - zeros)) as f32;
        assert_close(&values(again.scale), &[shrunk], 1e-5, "scale of the dequantised");
    });
}
