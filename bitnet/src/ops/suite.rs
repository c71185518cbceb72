//! Compares a backend's own operations with the composed forms, which NdArray computes: outputs,
//! and the gradients of all inputs. A function for each operation, for any backend that has it:
//!
//! ```text
//! #[test]
//! fn rms_norm_of_my_backend_is_the_composed_one() {
//!     suite::rms_norm::<MyBackend>();
//! }
//! ```

use burn::{
    backend::Autodiff,
    optim::AdamWState,
    tensor::{Int, Tensor, TensorData, backend::Backend},
};
use burn_ndarray::NdArray;

use super::{
    Columns,
    absmean::{WeightQuantizer, ternary_absmean},
    adamw::AdamWStep,
    autodiff,
    causal_attention::causal_attention,
    gated::{self, Gate},
    quantized_linear::{self, LinearInput},
    rms_norm::{self, Norm},
    rotate::{Positions, Rotation},
    self_attention::SelfAttention,
    token_losses,
};
use crate::precision::Precision;

/// Where both forms only differ by rounding.
const ROUNDING: f32 = 2e-5;
/// Where a difference of rounding may move an input across the boundary between two codes.
const CODES: f32 = 2e-3;
/// The least that a tensor's largest value counts for. A gradient that vanishes, as after a norm of
/// one element or the softmax of one key, is what rounding leaves of terms of order one.
const LEAST: f32 = 1e-2;

/// An operation with constants and inputs.
trait Case {
    /// Shapes of the inputs, and a factor for their values, which are between −1 and 1.
    fn inputs(&self) -> Vec<([usize; 2], f32)>;

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2>;
}

/// Numbers that look random, of either sign.
fn noise([rows, columns]: [usize; 2], factor: f32, seed: usize) -> TensorData {
    let value = |i: usize| {
        let bits = (i + 1).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503));
        let bits = (bits ^ bits >> 15).wrapping_mul(2_246_822_519) as u32;
        ((bits ^ bits >> 13) >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..rows * columns).map(|i| factor * value(i)).collect();
    TensorData::new(values, [rows, columns])
}

fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The output, and the gradients of all inputs; none of one that has no part in the output.
fn passes<B: Backend, C: Case>(case: &C) -> Vec<Option<Vec<f32>>> {
    let device = Default::default();
    let inputs: Vec<_> = case
        .inputs()
        .into_iter()
        .enumerate()
        .map(|(seed, (shape, factor))| {
            Tensor::<Autodiff<B>, 2>::from_data(noise(shape, factor, seed), &device).require_grad()
        })
        .collect();
    let y = case.compute(inputs.clone());
    let grad = Tensor::from_data(noise(y.dims(), 1.0, 99), &device);
    let grads = (y.clone() * grad).sum().backward();
    let gradients = inputs.into_iter().map(|input| input.grad(&grads).map(values));
    [Some(values(y.inner()))].into_iter().chain(gradients).collect()
}

/// Compares two results, each as a share of the largest of its values.
#[track_caller]
fn compare(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let highest = expected.iter().fold(LEAST, |a, b| a.max(b.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found - expected).abs();
        assert!(off <= tolerance * highest, "{what}, {i}: {found} for {expected} of {highest}");
    }
}

#[track_caller]
fn check<I: Backend>(case: &impl Case, tolerance: f32) {
    let before = autodiff::applied();
    let found = passes::<I, _>(case);
    assert!(autodiff::applied() > before, "the backend has no operation of its own");
    let expected = passes::<NdArray, _>(case);
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let what = if i == 0 { "output".into() } else { format!("gradient {}", i - 1) };
        match (found, expected) {
            (Some(found), Some(expected)) => compare(found, expected, tolerance, &what),
            (found, expected) => assert_eq!(found, expected, "{what}"),
        }
    }
}

struct RmsNorm([usize; 2]);

impl Case for RmsNorm {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        vec![(self.0, 3.0), ([1, self.0[1]], 1.0)]
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let [x, gains] = inputs.try_into().expect("two");
        rms_norm::rms_norm(x, gains.squeeze_dim(0), 1e-5)
    }
}

pub(super) fn rms_norm<I: Backend>() {
    for shape in [[1, 1], [5, 40], [130, 192]] {
        check::<I>(&RmsNorm(shape), ROUNDING);
    }
}

struct Gated(Gate, [usize; 2]);

impl Case for Gated {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        vec![(self.1, 4.0); 2]
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let [gate, up] = inputs.try_into().expect("two");
        gated::gated(self.0, gate, up)
    }
}

pub(super) fn gated<I: Backend>() {
    for gate in [Gate::Relu2, Gate::Silu] {
        for shape in [[1, 1], [70, 33]] {
            check::<I>(&Gated(gate, shape), ROUNDING);
        }
    }
}

struct TokenLosses([usize; 2]);

impl Case for TokenLosses {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        vec![(self.0, 9.0)]
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let [logits] = inputs.try_into().expect("one");
        let [tokens, vocab] = self.0;
        let targets: Vec<i32> = (0..tokens).map(|i| (i * 7 % vocab) as i32).collect();
        let targets = TensorData::new(targets, [tokens]);
        let targets = Tensor::<B, 1, Int>::from_data(targets, &logits.device());
        token_losses::token_losses(logits, targets).unsqueeze()
    }
}

pub(super) fn token_losses<I: Backend>() {
    for shape in [[1, 2], [70, 259]] {
        check::<I>(&TokenLosses(shape), ROUNDING);
    }
}

/// Weights of one input, with all that may stand before and after them.
#[derive(Clone, Copy)]
struct QuantizedLinear {
    quantizer: WeightQuantizer,
    tokens: usize,
    d_input: usize,
    d_outputs: &'static [usize],
    gate: Option<Gate>,
    norm: bool,
    residual: bool,
}

impl Case for QuantizedLinear {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        let Self { tokens, d_input, d_outputs, gate, norm, residual, .. } = *self;
        let sides = if gate.is_some() { 2 } else { 1 };
        let mut inputs = vec![([tokens, sides * d_input], 3.0)];
        inputs.extend(norm.then_some(([1, d_input], 1.0)));
        inputs.extend(residual.then_some(([tokens, d_outputs[0]], 1.0)));
        inputs.extend(d_outputs.iter().map(|&d_output| ([d_input, d_output], 0.1)));
        inputs
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("as many as there are");
        let x = next();
        let norm = self.norm.then(|| Norm { gains: next().squeeze_dim(0), eps: 1e-5 });
        let residual = self.residual.then(&mut next);
        let x = match self.gate {
            Some(gate) => LinearInput::gated(gate, Columns::Joined(x, vec![self.d_input; 2])),
            None => LinearInput::new(x),
        };
        let input = LinearInput { residual, ..x.with_norm(norm) };
        let weights = inputs.collect();
        quantized_linear::quantized_linear(self.quantizer, Precision::F32, input, weights).joined()
    }
}

pub(super) fn quantized_linear<I: Backend>() {
    let plain = QuantizedLinear {
        quantizer: WeightQuantizer::Ternary,
        tokens: 13,
        d_input: 37,
        d_outputs: &[51],
        gate: None,
        norm: false,
        residual: false,
    };
    let normed = QuantizedLinear { norm: true, ..plain };
    for (case, tolerance) in [
        (plain, ROUNDING),
        (QuantizedLinear { quantizer: WeightQuantizer::Binary, ..plain }, ROUNDING),
        (QuantizedLinear { tokens: 1, d_input: 1, d_outputs: &[1], ..plain }, ROUNDING),
        (QuantizedLinear { residual: true, ..plain }, ROUNDING),
        (QuantizedLinear { tokens: 230, d_input: 205, ..normed }, CODES),
        (QuantizedLinear { d_outputs: &[48, 16, 23], ..normed }, CODES),
        // Of no whole panels.
        (QuantizedLinear { d_outputs: &[5, 16, 23], ..normed }, CODES),
        (QuantizedLinear { gate: Some(Gate::Relu2), residual: true, ..normed }, CODES),
        (QuantizedLinear { gate: Some(Gate::Silu), residual: true, ..normed }, CODES),
    ] {
        check::<I>(&case, tolerance);
    }
}

/// Positions of heads of queries and of keys.
fn positions<B: Backend>(
    [heads, kv_heads]: [usize; 2],
    dim: usize,
    [start, seq]: [usize; 2],
) -> Positions<B> {
    let half = dim / 2;
    let device = Default::default();
    let angle = |position: usize, feature: usize| {
        (start + position) as f32 * 0.3_f32.powi((feature % half) as i32)
    };
    let table = |heads: usize, factor: f32, f: fn(f32) -> f32| {
        let values: Vec<f32> = (0..seq)
            .flat_map(|position| (0..heads * dim).map(move |i| (position, i % dim)))
            .map(|(position, feature)| factor * f(angle(position, feature)))
            .collect();
        values
    };
    let mut swap = vec![0.0; dim * dim];
    for i in 0..half {
        swap[(i + half) * dim + i] = -1.0;
        swap[i * dim + i + half] = 1.0;
    }
    let matrix = |values: Vec<f32>, rows: usize| {
        let columns = values.len() / rows;
        Tensor::from_data(TensorData::new(values, [rows, columns]), &device)
    };
    let rotation = |heads, factor| Rotation {
        cos: matrix(table(heads, factor, f32::cos), 1),
        sin: matrix(table(heads, factor, f32::sin), 1),
        swap: matrix(swap.clone(), dim),
    };
    Positions {
        start,
        angles: [matrix(table(1, 1.0, f32::cos), seq), matrix(table(1, 1.0, f32::sin), seq)],
        queries: rotation(heads, (dim as f32).sqrt().recip()),
        keys: rotation(kv_heads, 1.0),
    }
}

/// The whole of it, or part by part as with a cache.
#[derive(Clone, Copy)]
struct Attention {
    batch: usize,
    seq: usize,
    heads: [usize; 2],
    dim: usize,
    norms: bool,
    in_parts: bool,
}

impl Case for Attention {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        let Self { batch, seq, heads: [heads, kv_heads], dim, norms, .. } = *self;
        let mut inputs = vec![([batch * seq, (heads + 2 * kv_heads) * dim], 2.0)];
        inputs.extend([([1, dim], 1.0); 2].into_iter().filter(|_| norms));
        inputs
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let Self { seq, heads, dim, in_parts, .. } = *self;
        let mut inputs = inputs.into_iter();
        let qkv = inputs.next().expect("the first of them");
        let norms: Vec<_> =
            inputs.map(|gains| Norm { gains: gains.squeeze_dim(0), eps: 1e-5 }).collect();
        let [of_queries, of_keys] = heads;
        let attention = SelfAttention {
            heads: of_queries,
            kv_heads: of_keys,
            dim,
            norms: norms.try_into().ok(),
            precision: Precision::F32,
        };
        let widths = vec![of_queries * dim, of_keys * dim, of_keys * dim];
        let (qkv, positions) = (Columns::Joined(qkv, widths), positions(heads, dim, [0, seq]));
        match in_parts {
            true => attention.apply_with(qkv, seq, &positions, |k, v| (k, v)),
            false => attention.apply(qkv, seq, &positions),
        }
    }
}

pub(super) fn self_attention<I: Backend>() {
    let plain =
        Attention { batch: 2, seq: 19, heads: [4, 2], dim: 8, norms: false, in_parts: false };
    for case in [
        plain,
        Attention { norms: true, ..plain },
        Attention { heads: [3, 3], dim: 40, ..plain },
        Attention { seq: 1, ..plain },
    ] {
        check::<I>(&case, ROUNDING);
        check::<I>(&Attention { in_parts: true, ..case }, ROUNDING);
    }
}

/// New queries at the end of a longer sequence.
struct Continued {
    heads: usize,
    group: usize,
    seq: usize,
    start: usize,
    dim: usize,
}

impl Case for Continued {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        let Self { heads, group, seq, start, dim } = *self;
        let keys = ([heads * (start + seq), dim], 1.0);
        vec![([heads * group * seq, dim], 0.5), keys, keys]
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let Self { heads, group, seq, start, dim } = *self;
        let [q, k, v] = inputs.try_into().expect("three");
        let q = q.reshape([1, heads, group * seq, dim]);
        let [k, v] = [k, v].map(|x| x.reshape([1, heads, start + seq, dim]));
        let y = causal_attention(Precision::F32, [q, k, v], seq, start);
        y.reshape([heads * group * seq, dim])
    }
}

pub(super) fn attention_to_cached_keys<I: Backend>() {
    for (seq, start) in [(1, 0), (1, 30), (17, 5)] {
        check::<I>(&Continued { heads: 2, group: 3, seq, start, dim: 12 }, ROUNDING);
    }
}

/// The mean that both quantisers of weights divide by.
struct Absmean([usize; 2]);

impl Case for Absmean {
    fn inputs(&self) -> Vec<([usize; 2], f32)> {
        vec![(self.0, 0.3)]
    }

    fn compute<B: Backend>(&self, inputs: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
        let [weight] = inputs.try_into().expect("one");
        ternary_absmean(weight, &[0, 1]).1
    }
}

pub(super) fn absmean<I: Backend>() {
    for shape in [[1, 1], [300, 171]] {
        check::<I>(&Absmean(shape), ROUNDING);
    }
}

/// Some steps of a parameter.
fn adamw_steps<B: Backend>() -> Vec<f32> {
    let device = Default::default();
    let tensor = |seed| Tensor::<B, 2>::from_data(noise([70, 33], 0.5, seed), &device);
    let step = AdamWStep { lr: 1e-2, keep: 0.99, betas: (0.9, 0.95), epsilon: 1e-8 };
    let mut state: Option<AdamWState<B, 2>> = None;
    let mut parameter = tensor(0);
    for seed in 1..4 {
        let stepped;
        (parameter, stepped) = step.apply(parameter, tensor(seed), state);
        state = Some(stepped);
    }
    let momentum = state.expect("three steps").momentum;
    assert_eq!(momentum.time, 3);
    let [parameter, first, second] = [parameter, momentum.moment_1, momentum.moment_2].map(values);
    [parameter, first, second].concat()
}

pub(super) fn adamw<I: Backend>() {
    compare(&adamw_steps::<I>(), &adamw_steps::<NdArray>(), ROUNDING, "parameter and moments");
}

/// Gradients clipped to a norm, and their norm before.
fn clipped<B: Backend>(max_norm: f64) -> Vec<f32> {
    let device = Default::default();
    let grads = [1, 1000, 40_000]
        .map(|len| Tensor::<B, 2>::from_data(noise([1, len], 0.5, len), &device).reshape([len]));
    let (grads, norm) = super::clip::clip(grads.into(), max_norm, &device);
    grads.into_iter().chain([norm]).flat_map(values).collect()
}

pub(super) fn clip<I: Backend>() {
    for max_norm in [0.1, 1e4] {
        compare(&clipped::<I>(max_norm), &clipped::<NdArray>(max_norm), ROUNDING, "gradients");
    }
}

#[cfg(feature = "flex")]
mod flex {
    use burn_flex::Flex;

    #[test]
    fn rms_norm() {
        super::rms_norm::<Flex>();
    }

    #[test]
    fn gated() {
        super::gated::<Flex>();
    }

    #[test]
    fn token_losses() {
        super::token_losses::<Flex>();
    }

    #[test]
    fn quantized_linear() {
        super::quantized_linear::<Flex>();
    }

    #[test]
    fn self_attention() {
        super::self_attention::<Flex>();
    }

    #[test]
    fn attention_to_cached_keys() {
        super::attention_to_cached_keys::<Flex>();
    }

    #[test]
    fn absmean() {
        super::absmean::<Flex>();
    }

    #[test]
    fn adamw() {
        super::adamw::<Flex>();
    }

    #[test]
    fn clip() {
        super::clip::<Flex>();
    }
}
