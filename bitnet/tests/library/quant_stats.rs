//! Statistics of quantisation: values worked out by hand, and that looking changes nothing.

use bitnet::{
    BitLinearConfig, BitNetTransformer, BitNetTransformerConfig,
    nn::FeedForwardKind,
    optim::linear_weights,
    quant::{ActivationQuant, PackedCodes, WeightQuant},
    quant_stats::{InputStats, QuantStats, Snapshot, by_block, measure, total},
};
use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::{Tensor, TensorData, backend::Backend},
};

use crate::common::{bits, for_each_backend, tensor, tokens, values};

for_each_backend!(
    codes_are_packed_and_compared,
    weights_are_measured_by_hand,
    inputs_are_measured_by_hand,
    binary_weights_have_their_mean_as_threshold,
    snapshots_read_back,
    looking_changes_nothing,
    a_full_precision_model_has_none,
);

fn codes_are_packed_and_compared<B: Backend>() {
    for len in [1, 4, 31, 32, 33, 97] {
        let code = |at: usize| (at * at % 3) as f32 - 1.0;
        let codes: Vec<f32> = (0..len).map(code).collect();
        let packed = PackedCodes::new(tensor::<B, 1>(&codes, [len]));
        assert_eq!(packed.len(), len);
        assert_eq!(packed.zeros(), codes.iter().filter(|&&code| code == 0.0).count());
        assert_eq!(packed.flips(&packed), 0);
        let bytes = packed.to_bytes();
        assert_eq!(bytes.len(), len.div_ceil(4));
        assert_eq!(PackedCodes::from_bytes(&bytes, len), Some(packed.clone()));
        assert_eq!(PackedCodes::from_bytes(&bytes, len + 4), None);
        // Every way for a code to change counts once.
        for (at, to) in [(0, 0.0), (0, 1.0), (len - 1, -1.0), (len - 1, 1.0), (len / 2, 0.0)] {
            let mut changed = codes.clone();
            changed[at] = to;
            let expected = usize::from(codes[at] != to);
            let changed = PackedCodes::new(tensor::<B, 1>(&changed, [len]));
            assert_eq!((packed.flips(&changed), changed.flips(&packed)), (expected, expected));
        }
    }
}

/// Sets the weight of the model's first linear, `[4, 4]`, to given values, those of the others to 1.
struct SetWeights {
    first: [f32; 16],
    linears: Vec<ParamId>,
}

impl<B: Backend> ModuleMapper<B> for SetWeights {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (first, index) = (self.first, self.linears.iter().position(|&id| id == param.id));
        match index {
            None => param,
            Some(0) => param.map(|weight| {
                let data = TensorData::new(first.to_vec(), weight.dims());
                Tensor::from_data(data, &weight.device())
            }),
            Some(_) => param.map(|weight| weight.ones_like()),
        }
    }
}

/// A model of width 4 whose query projection has the given weight.
fn model<B: Backend>(first: [f32; 16], quant: WeightQuant) -> BitNetTransformer<B> {
    let mut config = BitNetTransformerConfig::new(8, 4, 1)
        .with_heads(1)
        .with_dim_head(4)
        .with_ff_mult(2)
        .with_max_seq_len(8)
        .with_quant(quant);
    config.feed_forward = FeedForwardKind::Gelu;
    let model = config.init::<B>(&Default::default()).unwrap();
    let linears = linear_weights(model.linears().map(|(_, linear)| linear));
    model.map(&mut SetWeights { first, linears })
}

/// mean |w| = 1: the thresholds are ±0.5.
#[rustfmt::skip]
const WEIGHT: [f32; 16] = [
    0.46, -0.54, 0.44, 0.56, // near, near, not, not: codes 0, −1, 0, 1
    0.0, -0.51, 2.0, -2.0,   // only −0.51 is near: codes 0, −1, 1, −1
    1.0, 1.0, -1.0, 2.0,
    1.5, -1.5, 1.0, 0.49,    // only 0.49 is near: codes 1, −1, 1, 0
];

fn weights_are_measured_by_hand<B: Backend>() {
    let scale = WEIGHT.iter().map(|w| w.abs()).sum::<f32>() / 16.0;
    assert!((scale - 1.0).abs() < 1e-6, "the weight is not as its comments say");
    let before = Snapshot::of(&model::<B>(WEIGHT, WeightQuant::Ternary));
    let mut changed = WEIGHT;
    // 0 to −1, 1 to 0, and back to a mean of 1; the sign of a 1 and nothing else.
    changed[0] = -0.56;
    changed[3] = 0.46;
    changed[8] = -1.0;
    let model = model::<B>(changed, WeightQuant::Ternary);
    let inputs = tokens::<B, 3>(&[[1, 2, 3]]);

    let (layers, after) = measure(&model, inputs.clone(), Some(&before)).unwrap();
    let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
    let projections = ["q_proj", "k_proj", "v_proj", "o_proj"].map(|p| format!("self_attn.{p}"));
    let expected = projections.into_iter().chain(["mlp.up_proj".into(), "mlp.down_proj".into()]);
    assert_eq!(names, expected.map(|p| format!("layers.0.{p}")).collect::<Vec<_>>());

    let first = layers[0].1;
    assert_eq!((first.weights, first.flips), (16, Some(3.0 / 16.0)));
    assert_eq!(first.zeros, 4.0 / 16.0);
    assert_eq!(first.near_threshold, 4.0 / 16.0);
    assert!((first.scale - 1.0).abs() < 1e-6);
    let other = layers[5].1;
    assert_eq!((other.weights, other.zeros, other.flips), (32, 0.0, Some(0.0)));
    assert_eq!((other.scale, other.near_threshold), (1.0, 0.0));

    // 16 of the 4 · 16 + 2 · 32 weights are the first layer's.
    let sum = total(&layers).unwrap();
    assert_eq!((sum.weights, sum.zeros, sum.flips), (128, 4.0 / 128.0, Some(3.0 / 128.0)));
    assert_eq!(sum.near_threshold, 4.0 / 128.0);
    assert_eq!(sum.input.unwrap().features, 5 * 4 + 8);
    assert_eq!(by_block(&layers), [sum]);
    let second = layers.iter().skip(4).map(|(name, of)| (name.replace("rs.0", "rs.1"), *of));
    let blocks = by_block(&layers[..4].iter().cloned().chain(second).collect::<Vec<_>>());
    assert_eq!(blocks.iter().map(|block| block.weights).collect::<Vec<_>>(), [64, 64]);
    assert_eq!((blocks[0].zeros, blocks[1].zeros), (4.0 / 64.0, 0.0));
    assert_eq!(after, Snapshot::of(&model));
    let (layers, _) = measure(&model, inputs, None).unwrap();
    assert!(layers[0].1.flips.is_none() && total(&layers).unwrap().flips.is_none());
    assert_eq!(total(&[]), None);
}

fn inputs_are_measured_by_hand<B: Backend>() {
    // Codes 127, 32, 0, 0 and −127, 127, 0, 64; crest factors 2/√1 · …: max / rms.
    let x = tensor::<B, 2>(&[2.0, 0.5, 0.0, 0.001, -1.0, 1.0, 0.0, 0.5], [2, 4]);
    let linear = BitLinearConfig::new(4, 4).init::<B>(&Default::default());
    let (same, codes) = linear.input_codes(x.clone()).unwrap();
    assert_eq!(values(same), values(x.clone()));
    assert_eq!(values(codes), [127.0, 32.0, 0.0, 0.0, -127.0, 127.0, 0.0, 64.0]);
    let per_tensor = BitLinearConfig::new(4, 4).with_activation(ActivationQuant::Int8PerTensor);
    let (_, codes) = per_tensor.init::<B>(&Default::default()).input_codes(x.clone()).unwrap();
    assert_eq!(values(codes), [127.0, 32.0, 0.0, 0.0, -64.0, 64.0, 0.0, 32.0]);
    for config in [
        BitLinearConfig::new(4, 4).with_activation(ActivationQuant::None),
        BitLinearConfig::new(4, 4).with_quant(WeightQuant::None),
    ] {
        assert!(config.init::<B>(&Default::default()).input_codes(x.clone()).is_none());
    }

    // After the sub-norm every vector has rms 1 (but for ε); with the zero embedding, crest 0.
    let model = model::<B>(WEIGHT, WeightQuant::Ternary);
    let (layers, _) = measure(&model, tokens::<B, 2>(&[[1, 5]]), None).unwrap();
    for (name, layer) in &layers {
        let Some(InputStats { features, saturated, zeros, crest }) = layer.input else {
            panic!("{name} has no input");
        };
        assert_eq!(features, if name.ends_with("down_proj") { 8 } else { 4 });
        // One of the features is the largest, and max / rms lies between 1 and √features.
        assert!((1.0 / features as f64..=1.0).contains(&saturated), "{name}: {saturated}");
        assert!((0.0..1.0).contains(&zeros), "{name}: {zeros}");
        assert!((0.99..=(features as f64).sqrt() + 1e-3).contains(&crest), "{name}: {crest}");
    }
    let input = |at: usize| layers[at].1.input;
    assert!(input(0) == input(1) && input(0) == input(2) && input(0) != input(3));
}

fn binary_weights_have_their_mean_as_threshold<B: Backend>() {
    // Mean 1, mean |w| 1.5: near is |w − 1| < 0.075.
    let mut weight = [1.06; 16];
    weight[..8].copy_from_slice(&[-1.0, -1.0, -1.0, -1.0, 3.0, 3.0, 3.0, 3.0]);
    weight[12..].copy_from_slice(&[0.94; 4]);
    let model = model::<B>(weight, WeightQuant::Binary);
    let (layers, _) = measure(&model, tokens::<B, 1>(&[[1]]), None).unwrap();
    let QuantStats { zeros, near_threshold, scale, .. } = layers[0].1;
    assert_eq!((zeros, near_threshold), (0.0, 0.5));
    assert!((scale - 1.5).abs() < 1e-5);
}

fn snapshots_read_back<B: Backend>() {
    let model = model::<B>(WEIGHT, WeightQuant::Ternary);
    let snapshot = Snapshot::of(&model);
    let bytes = snapshot.to_bytes();
    assert_eq!(bytes.len(), 128 / 4);
    assert_eq!(Snapshot::from_bytes(&bytes, &model), Some(snapshot));
    assert_eq!(Snapshot::from_bytes(&bytes[1..], &model), None);
    assert_eq!(Snapshot::from_bytes(&[&bytes[..], &[0]].concat(), &model), None);
}

fn looking_changes_nothing<B: Backend>() {
    let model = model::<B>(WEIGHT, WeightQuant::Ternary);
    let inputs = tokens::<B, 3>(&[[1, 2, 3]]);
    let before = values(model.forward(inputs.clone()).unwrap());
    measure(&model, inputs.clone(), None).unwrap();
    assert_eq!(bits(&values(model.forward(inputs).unwrap())), bits(&before));
    let too_long = tokens::<B, 9>(&[[0; 9]]);
    assert!(measure(&model, too_long, None).is_err());
}

fn a_full_precision_model_has_none<B: Backend>() {
    let model = model::<B>(WEIGHT, WeightQuant::None);
    let (layers, after) = measure(&model, tokens::<B, 1>(&[[1]]), None).unwrap();
    assert!(layers.is_empty() && after.to_bytes().is_empty());
    assert_eq!(Snapshot::from_bytes(&[], &model), Some(after));
}
