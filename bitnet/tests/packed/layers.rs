//! Packed layers and models against those they were packed from.

use crate::common::{assert_close, for_each_backend, random_tensor, tokens, values};
use bitnet::{
    BitLinear, BitLinearConfig, BitNetTransformerConfig,
    nn::InnerNorm,
    packed::TableFormat,
    pretrained::{PretrainedError, WeightDtype, save},
    quant::{ActivationQuant, WeightQuant},
    tokenizer::ByteTokenizer,
};
use burn::{
    module::Module,
    tensor::{Tensor, backend::Backend},
};

for_each_backend!(
    packed_layers_compute_the_same,
    codes_and_scales_survive,
    full_precision_stays_as_it_is,
    packed_models_compute_the_same,
    packed_models_are_not_stored,
);

fn layers<B: Backend>() -> Vec<BitLinear<B>> {
    let mut layers = Vec::new();
    for quant in [WeightQuant::Ternary, WeightQuant::Binary, WeightQuant::BinaryPaper] {
        for activation in
            [ActivationQuant::Int8PerToken, ActivationQuant::Int8PerTensor, ActivationQuant::None]
        {
            for group_size in [None, Some(7)] {
                let config = BitLinearConfig::new(21, 35)
                    .with_quant(quant)
                    .with_activation(activation)
                    .with_norm(InnerNorm::Rms)
                    .with_bias(true)
                    .with_group_size(group_size);
                layers.push(config.init(&Default::default()));
            }
        }
    }
    layers
}

fn packed_layers_compute_the_same<B: Backend>() {
    for layer in layers::<B>() {
        // Drawn once: until it is used, a weight is drawn anew in each clone.
        layer.weight.val();
        let x: Tensor<B, 3> = random_tensor(1, [2, 5, 21], 1.0);
        let expected = values(layer.forward(x.clone()));
        let name = format!("{layer:?}");
        let packed = layer.pack();
        assert!(packed.is_packed());
        assert_close(&values(packed.forward(x)), &expected, 1e-5, &name);
    }
}

fn codes_and_scales_survive<B: Backend>() {
    for layer in layers::<B>() {
        layer.weight.val();
        let expected = layer.quantized_weight().unwrap();
        let effective = values(layer.effective_weight());
        let parameters = layer.num_params();
        let packed = layer.pack().pack();
        let quantized = packed.quantized_weight().unwrap();
        assert_eq!(values(quantized.codes), values(expected.codes));
        assert_eq!(quantized.scale.dims(), expected.scale.dims());
        assert_eq!(values(quantized.scale), values(expected.scale));
        assert_eq!(values(packed.effective_weight()), effective);
        assert_eq!(packed.weight.lazy_shape().dims::<2>(), [21, 35]);
        assert_eq!(packed.num_params(), parameters);
        assert_eq!(values(packed.weight.val()), effective);
    }
}

fn full_precision_stays_as_it_is<B: Backend>() {
    let config = BitLinearConfig::new(8, 3).with_quant(WeightQuant::None);
    let layer = config.init::<B>(&Default::default());
    let weight = values(layer.weight.val());
    let packed = layer.pack();
    assert!(!packed.is_packed());
    assert_eq!(values(packed.weight.val()), weight);
}

fn packed_models_compute_the_same<B: Backend>() {
    let config = BitNetTransformerConfig { ff_dim: 40, init_std: 0.3, ..small() };
    let model = config.init_seeded::<B>(4, &Default::default()).unwrap();
    let ids = || tokens::<B, 6>(&[[1, 2, 3, 4, 5, 6], [9, 8, 7, 6, 5, 4]]);
    let expected = values(model.forward(ids()).unwrap());
    let logits = |engine: bitnet::engine::Engine| {
        engine.forward(&mut [(&mut engine.new_cache(), &[1, 2, 3])]).unwrap()
    };
    let engine = logits(bitnet::engine::Engine::new(&model, TableFormat::F32).unwrap());
    let packed = model.pack();
    assert_close(&values(packed.forward(ids()).unwrap()), &expected, 1e-4, "logits");
    let again = logits(bitnet::engine::Engine::new(&packed, TableFormat::F32).unwrap());
    assert_eq!(again, engine);
}

fn packed_models_are_not_stored<B: Backend>() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let model = small().init::<B>(&Default::default()).unwrap().pack();
    let error = save(&path, &model, &ByteTokenizer, WeightDtype::F32).unwrap_err();
    assert!(matches!(error, PretrainedError::Packed), "{error}");
    assert!(!path.exists());
}

fn small() -> BitNetTransformerConfig {
    BitNetTransformerConfig::new(256, 32, 2).with_heads(4).with_dim_head(8)
}
