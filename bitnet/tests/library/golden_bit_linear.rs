//! [`BitLinear`] against vectors made by plain PyTorch (`golden/generate.py`): effective weights,
//! outputs and all gradients, in every mode.

use crate::common::{Ad, assert_close, for_each_backend, tensor, values};
use bitnet::{
    BitLinear, BitLinearConfig,
    nn::InnerNorm,
    quant::{ActivationQuant, WeightQuant},
};
use burn::{
    module::Param,
    tensor::{Tensor, backend::Backend},
};
use safetensors::SafeTensors;
use serde::Deserialize;

const CASES: &str = include_str!("../golden/bit_linear.json");
const TENSORS: &[u8] = include_bytes!("../golden/bit_linear.safetensors");

/// Relative to the largest magnitude of a tensor. Codes are equal, so only the order of summation
/// differs; in f64 the vectors are right to 4e-7.
const TOLERANCE: f32 = 1e-5;

for_each_backend!(matches_pytorch_in_training, matches_pytorch_in_inference);

/// A line of the JSON file, under the names it uses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    weight: WeightQuant,
    activation: Activation,
    norm: InnerNorm,
    group_size: Option<usize>,
    bias: bool,
    before_nonlinearity: bool,
    training: bool,
    d_input: usize,
    d_output: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Activation {
    Int8PerToken,
    Int8PerTensor,
    /// b1's own, which goes with [`WeightQuant::BinaryPaper`].
    Paper,
    None,
}

impl Case {
    fn layer<B: Backend>(&self, golden: &SafeTensors) -> BitLinear<B> {
        let config = BitLinearConfig {
            bias: self.bias,
            quant: self.weight,
            activation: match self.activation {
                Activation::Int8PerToken | Activation::Paper => ActivationQuant::Int8PerToken,
                Activation::Int8PerTensor => ActivationQuant::Int8PerTensor,
                Activation::None => ActivationQuant::None,
            },
            norm: self.norm,
            group_size: self.group_size,
            before_nonlinearity: self.before_nonlinearity,
            ..BitLinearConfig::new(self.d_input, self.d_output)
        };
        let mut layer = config.init::<B>(&Default::default());
        let (weight, shape) = self.read(golden, "weight");
        let weight = tensor(&weight, [shape[0], shape[1]]).transpose();
        layer.weight = Param::from_tensor(weight);
        if self.bias {
            let (bias, _) = self.read(golden, "bias");
            layer.bias = Some(Param::from_tensor(tensor(&bias, [self.d_output])));
        }
        layer
    }

    fn input<B: Backend>(&self, golden: &SafeTensors) -> Tensor<B, 2> {
        let (x, _) = self.read(golden, "x");
        tensor(&x, [x.len() / self.d_input, self.d_input])
    }

    fn read(&self, golden: &SafeTensors, name: &str) -> (Vec<f32>, Vec<usize>) {
        let view = golden.tensor(&format!("{}.{name}", self.name)).unwrap();
        assert_eq!(view.dtype(), safetensors::Dtype::F32);
        let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        (values.collect(), view.shape().to_vec())
    }

    #[track_caller]
    fn check(&self, golden: &SafeTensors, name: &str, actual: &[f32]) {
        let (expected, _) = self.read(golden, name);
        assert_close(actual, &expected, TOLERANCE, &format!("{} {name}", self.name));
    }

    /// Checks the forward pass on `B`.
    fn check_forward<B: Backend>(&self, golden: &SafeTensors) {
        let layer = self.layer::<B>(golden);
        let weight = layer.effective_weight().transpose();
        self.check(golden, "w_quant", &values(weight));
        self.check(golden, "y", &values(layer.forward(self.input(golden))));
    }
}

fn cases() -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_str(CASES).unwrap();
    assert!(cases.len() > 30, "only {} cases", cases.len());
    cases
}

fn matches_pytorch_in_training<B: Backend>() {
    let golden = SafeTensors::deserialize(TENSORS).unwrap();
    let training: Vec<Case> = cases().into_iter().filter(|case| case.training).collect();
    assert!(training.len() > 20);
    for case in training {
        case.check_forward::<Ad<B>>(&golden);
        let layer = case.layer::<Ad<B>>(&golden);
        let x = case.input::<Ad<B>>(&golden).require_grad();
        let y = layer.forward(x.clone());
        let (dy, _) = case.read(&golden, "dy");
        let dy = tensor(&dy, y.dims());
        let grads = (y * dy).sum().backward();

        case.check(&golden, "dx", &values(x.grad(&grads).unwrap()));
        let weight = layer.weight.grad(&grads).unwrap();
        case.check(&golden, "dw", &values(weight.transpose()));
        if let Some(bias) = &layer.bias {
            case.check(&golden, "db", &values(bias.grad(&grads).unwrap()));
        }
    }
}

fn matches_pytorch_in_inference<B: Backend>() {
    let golden = SafeTensors::deserialize(TENSORS).unwrap();
    // Of all modes, only the paper's own activations have another scale in training.
    let same = |case: &Case| !case.training || !matches!(case.activation, Activation::Paper);
    let cases: Vec<Case> = cases().into_iter().filter(same).collect();
    assert!(cases.iter().filter(|case| !case.training).count() >= 3);
    for case in cases {
        case.check_forward::<B>(&golden);
    }
}
