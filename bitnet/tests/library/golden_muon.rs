//! [`Muon`] step by step against PyTorch's own (`golden/generate.py`), and together with AdamW.

use crate::common::{Ad, assert_close, bits, for_each_backend, random_tensor, tensor, values};
use bitnet::{
    BitLinear, BitLinearConfig, BitNetTransformerConfig,
    optim::{AdamWConfig, MuonAdamW, MuonConfig, Schedule, ScheduleKind, linear_weights},
};
use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    optim::{GradientsParams, Optimizer, SimpleOptimizer},
    record::{BinBytesRecorder, FullPrecisionSettings, Recorder},
    tensor::{Tensor, backend::Backend},
};
use safetensors::SafeTensors;
use serde::Deserialize;

const CASES: &str = include_str!("../golden/muon.json");
const TENSORS: &[u8] = include_bytes!("../golden/muon.safetensors");

/// Relative to the largest weight. The iteration widens differences of rounding somewhat.
const TOLERANCE: f32 = 2e-5;

for_each_backend!(
    matches_pytorch,
    the_linears_are_found,
    matrices_and_the_rest_part_ways,
    the_state_survives_a_restart,
);

/// A line of the JSON file, under the names it uses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    d_input: usize,
    d_output: usize,
    momentum: f64,
    iterations: usize,
    weight_decay: f64,
    lr: f64,
    steps: usize,
    #[serde(rename = "zero_step")]
    _zero_step: Option<usize>,
}

impl Case {
    fn read<B: Backend>(&self, golden: &SafeTensors, name: &str) -> Tensor<B, 2> {
        let view = golden.tensor(&format!("{}.{name}", self.name)).unwrap();
        let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        tensor(&values.collect::<Vec<_>>(), [self.d_input, self.d_output])
    }
}

fn schedule(kind: ScheduleKind, weight_decay: f64) -> Schedule {
    Schedule {
        kind,
        peak: 1.0,
        second_peak: 1.0,
        final_fraction: 0.0,
        decay_fraction: 0.0,
        warmup: 0,
        steps: 4,
        weight_decay,
    }
}

fn matches_pytorch<B: Backend>() {
    let golden = SafeTensors::deserialize(TENSORS).unwrap();
    let cases: Vec<Case> = serde_json::from_str(CASES).unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let muon = MuonConfig {
            momentum: case.momentum,
            iterations: case.iterations,
            schedule: schedule(ScheduleKind::Constant, case.weight_decay),
        };
        let muon = muon.init::<B>();
        let mut weight = case.read::<B>(&golden, "weight");
        let mut state = None;
        for step in 0..case.steps {
            let grad = case.read(&golden, &format!("grad.{step}"));
            (weight, state) = muon.step(case.lr, weight, grad, state);
            let expected = values(case.read::<B>(&golden, &format!("step.{step}")));
            let what = format!("{} step {step}", case.name);
            assert_close(&values(weight.clone()), &expected, TOLERANCE, &what);
        }
    }
}

fn the_linears_are_found<B: Backend>() {
    let config = BitNetTransformerConfig { qk_norm: true, bias: true, ..transformer() };
    let model = config.init::<B>(&Default::default()).unwrap();
    let found = linear_weights(model.linears().map(|(_, linear)| linear));
    // Query, key, value, output, gate, up, down.
    assert_eq!(found.len(), 2 * 7);
    // All matrices but these two.
    let head = model.lm_head.as_ref().unwrap().weight.id;
    let mut matrices = Matrices(Vec::new());
    model.visit(&mut matrices);
    matrices.0.retain(|&id| id != model.embed_tokens.weight.id && id != head);
    assert_eq!(matrices.0, found);
}

/// The parameters of two dimensions.
struct Matrices(Vec<ParamId>);

impl<B: Backend> ModuleVisitor<B> for Matrices {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.extend((D == 2).then_some(param.id));
    }
}

fn transformer() -> BitNetTransformerConfig {
    BitNetTransformerConfig {
        tie_embeddings: false,
        ff_dim: 24,
        ..BitNetTransformerConfig::new(19, 16, 2).with_heads(2).with_dim_head(8)
    }
}

/// A layer whose weight goes to Muon and whose bias to AdamW.
fn layer<B: Backend>() -> BitLinear<Ad<B>> {
    let mut layer = BitLinearConfig::new(6, 4).with_bias(true).init::<Ad<B>>(&Default::default());
    layer.weight = burn::module::Param::from_tensor(random_tensor(1, [6, 4], 0.5));
    layer
}

fn optimizer<B: Backend>(
    layer: &BitLinear<Ad<B>>,
    kind: ScheduleKind,
) -> MuonAdamW<BitLinear<Ad<B>>, Ad<B>> {
    let schedule = schedule(kind, 0.5);
    let muon = MuonConfig { momentum: 0.9, iterations: 5, schedule };
    let adamw = AdamWConfig { betas: (0.9, 0.95), epsilon: 1e-8, schedule };
    MuonAdamW::new(linear_weights([layer]), &muon, &adamw)
}

/// Gradients of a loss that is linear in the parameters.
fn gradients<B: Backend>(layer: &BitLinear<Ad<B>>, seed: u64) -> GradientsParams {
    let factors = random_tensor::<Ad<B>, 2>(seed, [6, 4], 1.0);
    let bias = layer.bias.as_ref().unwrap().val();
    let loss = (layer.weight.val() * factors).sum() + bias.sum();
    GradientsParams::from_grads(loss.backward(), layer)
}

fn parameters<B: Backend>(layer: &BitLinear<Ad<B>>) -> [Vec<f32>; 2] {
    [values(layer.weight.val()), values(layer.bias.as_ref().unwrap().val())]
}

fn matrices_and_the_rest_part_ways<B: Backend>() {
    let start = layer::<B>();
    let mut optim = optimizer(&start, ScheduleKind::Constant);
    let moved = optim.step(0.1, start.clone(), gradients(&start, 7));
    let [weight, bias] = parameters(&moved);
    // AdamW's first step moves by the rate, and biases do not decay.
    assert_close(&bias, &[-0.1; 4], 1e-5, "bias");
    let muon = MuonConfig {
        momentum: 0.9,
        iterations: 5,
        schedule: schedule(ScheduleKind::Constant, 0.5),
    };
    let grad = random_tensor::<B, 2>(7, [6, 4], 1.0);
    let (expected, _) = muon.init::<B>().step(0.1, start.weight.val().inner(), grad, None);
    assert_eq!(bits(&weight), bits(&values(expected)));

    // Singular values near one, 0.2 · √6 and the rate: the norm of what was moved.
    let kept = start.weight.val().mul_scalar(0.95);
    let step = (moved.weight.val() - kept).inner().square().sum().sqrt();
    let expected = 0.1 * 0.2 * 6f32.sqrt() * 4f32.sqrt();
    let ratio = values(step)[0] / expected;
    assert!((0.65..1.25).contains(&ratio), "{ratio}");
}

fn the_state_survives_a_restart<B: Backend>() {
    let start = layer::<B>();
    let mut optim = optimizer(&start, ScheduleKind::TwoStage);
    let mut model = start.clone();
    for seed in 1..=2 {
        let grads = gradients(&model, seed);
        model = optim.step(0.1, model, grads);
    }
    let recorder = BinBytesRecorder::<FullPrecisionSettings, Vec<u8>>::default();
    let bytes = Recorder::<Ad<B>>::record(&recorder, optim.to_record(), ()).unwrap();
    let record = Recorder::<Ad<B>>::load(&recorder, bytes, &Default::default()).unwrap();

    let uninterrupted = optim.step(0.1, model.clone(), gradients(&model, 3));
    let mut resumed = optimizer(&start, ScheduleKind::TwoStage).load_record(record);
    let resumed = resumed.step(0.1, model.clone(), gradients(&model, 3));
    let of = |layer: &BitLinear<Ad<B>>| parameters(layer).map(|values| bits(&values));
    assert_eq!(of(&resumed), of(&uninterrupted));

    // A new optimiser would have begun anew, with decay and without momentum.
    let mut fresh = optimizer(&start, ScheduleKind::TwoStage);
    let fresh = fresh.step(0.1, model.clone(), gradients(&model, 3));
    assert_ne!(of(&fresh)[0], of(&uninterrupted)[0]);
    assert_eq!(model.num_params(), 28);
}
