//! [`BitNetTransformer`] against vectors made by plain PyTorch (`golden/generate.py`): logits,
//! loss and the gradient of every parameter.

use std::collections::BTreeSet;

use crate::common::{Ad, assert_close, for_each_backend, of_models, tensor, values};
use bitnet::{
    BitLinear, BitNetTransformer, BitNetTransformerConfig,
    loss::cross_entropy,
    nn::{FeedForwardKind, NormPlacement, RmsNorm},
    quant::WeightQuant,
};
use burn::{
    module::{AutodiffModule, Param},
    tensor::{Int, Tensor, TensorData, backend::Backend},
};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

const CASES: &str = include_str!("../golden/transformer.json");
const TENSORS: &[u8] = include_bytes!("../golden/transformer.safetensors");

/// Relative to the largest magnitude of a tensor; in f64 the vectors are right to 4e-6.
const TOLERANCE: f32 = 2e-5;

for_each_backend!(matches_pytorch);

/// A line of the JSON file, under the names it uses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    vocab_size: usize,
    dim: usize,
    depth: usize,
    heads: usize,
    kv_heads: usize,
    dim_head: usize,
    ff_dim: usize,
    max_seq_len: usize,
    rope_theta: f64,
    norm_eps: f64,
    feed_forward: FeedForwardKind,
    norms: NormPlacement,
    quant: WeightQuant,
    tie_embeddings: bool,
    qk_norm: bool,
    bias: bool,
}

impl Case {
    fn config(&self) -> BitNetTransformerConfig {
        BitNetTransformerConfig {
            heads: self.heads,
            kv_heads: self.kv_heads,
            dim_head: self.dim_head,
            ff_dim: self.ff_dim,
            max_seq_len: self.max_seq_len,
            rope_theta: self.rope_theta,
            norm_eps: self.norm_eps,
            feed_forward: self.feed_forward,
            norms: self.norms,
            quant: self.quant,
            tie_embeddings: self.tie_embeddings,
            qk_norm: self.qk_norm,
            bias: self.bias,
            ..BitNetTransformerConfig::new(self.vocab_size, self.dim, self.depth)
        }
    }

    fn floats(&self, golden: &SafeTensors, name: &str) -> Vec<f32> {
        let view = golden.tensor(&format!("{}.{name}", self.name)).unwrap();
        assert_eq!(view.dtype(), Dtype::F32);
        view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }

    fn ids<B: Backend>(&self, golden: &SafeTensors, name: &str) -> Tensor<B, 2, Int> {
        let view = golden.tensor(&format!("{}.{name}", self.name)).unwrap();
        assert_eq!(view.dtype(), Dtype::I64);
        let ids = view.data().as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as i32);
        let data = TensorData::new(ids.collect::<Vec<_>>(), view.shape());
        Tensor::from_data(data, &Default::default())
    }
}

/// A parameter, by how the file stores it.
enum Slot<'a, B: Backend> {
    Vector(&'a mut Param<Tensor<B, 1>>),
    Matrix(&'a mut Param<Tensor<B, 2>>),
    /// `[out, in]` in the file, `[in, out]` in the model.
    Transposed(&'a mut Param<Tensor<B, 2>>),
}

impl<B: Backend> Slot<'_, B> {
    fn load(self, stored: &[f32]) {
        match self {
            Slot::Vector(param) => *param = Param::from_tensor(tensor(stored, param.dims())),
            Slot::Matrix(param) => *param = Param::from_tensor(tensor(stored, param.dims())),
            Slot::Transposed(param) => {
                let [d_input, d_output] = param.dims();
                *param = Param::from_tensor(tensor(stored, [d_output, d_input]).transpose());
            }
        }
    }
}

/// Every parameter with its name in the file, written out by hand: the library's own names are
/// not trusted here.
fn slots<B: Backend>(model: &mut BitNetTransformer<B>) -> Vec<(String, Slot<'_, B>)> {
    fn linear<'a, B: Backend>(
        slots: &mut Vec<(String, Slot<'a, B>)>,
        name: String,
        linear: &'a mut BitLinear<B>,
    ) {
        slots.push((format!("{name}.weight"), Slot::Transposed(&mut linear.weight)));
        let bias = linear.bias.as_mut().map(|bias| (format!("{name}.bias"), Slot::Vector(bias)));
        slots.extend(bias);
    }
    fn norm<'a, B: Backend>(
        slots: &mut Vec<(String, Slot<'a, B>)>,
        name: String,
        norm: Option<&'a mut RmsNorm<B>>,
    ) {
        slots.extend(norm.map(|norm| (format!("{name}.weight"), Slot::Vector(&mut norm.weight))));
    }

    let embedding = Slot::Matrix(&mut model.embed_tokens.weight);
    let mut all = vec![("model.embed_tokens.weight".to_string(), embedding)];
    for (n, block) in model.layers.iter_mut().enumerate() {
        let layer = format!("model.layers.{n}");
        norm(&mut all, format!("{layer}.input_layernorm"), block.input_layernorm.as_mut());
        let after = block.post_attention_layernorm.as_mut();
        norm(&mut all, format!("{layer}.post_attention_layernorm"), after);

        let attention = &mut block.self_attn;
        linear(&mut all, format!("{layer}.self_attn.q_proj"), &mut attention.q_proj);
        linear(&mut all, format!("{layer}.self_attn.k_proj"), &mut attention.k_proj);
        linear(&mut all, format!("{layer}.self_attn.v_proj"), &mut attention.v_proj);
        linear(&mut all, format!("{layer}.self_attn.o_proj"), &mut attention.o_proj);
        let sub_norm = attention.attn_sub_norm.as_mut();
        norm(&mut all, format!("{layer}.self_attn.attn_sub_norm"), sub_norm);
        norm(&mut all, format!("{layer}.self_attn.q_norm"), attention.q_norm.as_mut());
        norm(&mut all, format!("{layer}.self_attn.k_norm"), attention.k_norm.as_mut());

        let mlp = &mut block.mlp;
        if let Some(gate_proj) = &mut mlp.gate_proj {
            linear(&mut all, format!("{layer}.mlp.gate_proj"), gate_proj);
        }
        linear(&mut all, format!("{layer}.mlp.up_proj"), &mut mlp.up_proj);
        linear(&mut all, format!("{layer}.mlp.down_proj"), &mut mlp.down_proj);
        norm(&mut all, format!("{layer}.mlp.ffn_sub_norm"), mlp.ffn_sub_norm.as_mut());
    }
    norm(&mut all, "model.norm".into(), Some(&mut model.norm));
    if let Some(head) = &mut model.lm_head {
        all.push(("lm_head.weight".into(), Slot::Transposed(&mut head.weight)));
    }
    all
}

fn matches_pytorch<B: Backend>() {
    let golden = SafeTensors::deserialize(TENSORS).unwrap();
    let cases: Vec<Case> = serde_json::from_str(CASES).unwrap();
    assert!(cases.len() >= 6, "only {} cases", cases.len());
    for case in cases {
        let check = |name: &str, actual: Vec<f32>| {
            let expected = case.floats(&golden, name);
            assert_close(
                &actual,
                &expected,
                of_models(TOLERANCE),
                &format!("{} {name}", case.name),
            );
        };
        let mut model = case.config().init::<Ad<B>>(&Default::default()).unwrap();
        let mut names = BTreeSet::new();
        for (name, slot) in slots(&mut model) {
            slot.load(&case.floats(&golden, &format!("param.{name}")));
            names.insert(format!("{}.param.{name}", case.name));
        }
        let prefix = format!("{}.param.", case.name);
        let stored = golden.names().into_iter().filter(|name| name.starts_with(&prefix));
        assert_eq!(names, stored.map(ToString::to_string).collect(), "parameters");

        let logits = model.forward(case.ids(&golden, "tokens")).unwrap();
        check("logits", values(logits.clone()));
        let loss = cross_entropy(logits, case.ids(&golden, "targets"));
        check("loss", values(loss.clone()));
        let grads = loss.backward();
        for (name, slot) in slots(&mut model) {
            let grad = match slot {
                Slot::Vector(param) => values(param.grad(&grads).unwrap()),
                Slot::Matrix(param) => values(param.grad(&grads).unwrap()),
                Slot::Transposed(param) => values(param.grad(&grads).unwrap().transpose()),
            };
            check(&format!("grad.{name}"), grad);
        }
        // Of all modes, only the paper's activations have another scale in training.
        if case.quant != WeightQuant::BinaryPaper {
            let logits = model.valid().forward(case.ids(&golden, "tokens")).unwrap();
            check("logits", values(logits));
        }
    }
}
