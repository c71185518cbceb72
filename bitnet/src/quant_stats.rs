//! What quantisation does to a model that is being trained: zeros, flips, scales, weights near a
//! threshold, and how well 8 bits hold the activations.
//!
//! ```
//! use bitnet::{BitNetTransformerConfig, quant_stats::{Snapshot, measure, total}};
//! use burn::tensor::{Int, Tensor};
//! # type B = burn_flex::Flex;
//!
//! let device = Default::default();
//! let model = BitNetTransformerConfig::new(100, 64, 2).init::<B>(&device)?;
//! let tokens = Tensor::<B, 2, Int>::zeros([1, 16], &device);
//! let before = Snapshot::of(&model);
//! let (layers, _after) = measure(&model, tokens, Some(&before))?;
//! assert_eq!(layers.len(), 14);
//! // Nothing was trained; and 31 % of normal weights round to zero.
//! let total = total(&layers).unwrap();
//! assert_eq!(total.flips, Some(0.0));
//! assert!((total.zeros - 0.31).abs() < 0.02);
//! # Ok::<(), bitnet::ModelError>(())
//! ```

use std::cell::RefCell;

use burn::tensor::{Int, Tensor, backend::Backend};

use crate::{
    nn::{BitLinear, BitNetTransformer, ModelError},
    quant::{PackedCodes, WeightQuant},
};

/// How far from a rounding threshold a weight is near it, in units of the scale γ: a ternary
/// latent weight is near if `| |w|/γ − ½ | < 0.05`, a binary one if `|w − mean w|/γ < 0.05`.
pub const NEAR_THRESHOLD: f64 = 0.05;

/// Statistics of one quantised linear, or of several together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantStats {
    /// Number of weights.
    pub weights: usize,
    /// Share of the weights with code 0.
    pub zeros: f64,
    /// Share of the weights whose code is another one than before; `None` if none was kept.
    pub flips: Option<f64>,
    /// Scale γ; the mean of them, where there are several.
    pub scale: f64,
    /// Share of the latent weights within [`NEAR_THRESHOLD`] of a rounding threshold.
    pub near_threshold: f64,
    /// The input, where it is quantised.
    pub input: Option<InputStats>,
}

/// How well 8 bits hold the input of a linear.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputStats {
    /// Number of input features.
    pub features: usize,
    /// Share of the codes at ±127, the largest. With one scale per token it is one in `features` at
    /// least, since absmax never clips: what is above crowds at the end of the range.
    pub saturated: f64,
    /// Share of the codes that are 0.
    pub zeros: f64,
    /// Crest factor `max|x| / √(mean x²)` of a token, mean over the tokens: the higher it is, the
    /// fewer levels are left for most values.
    pub crest: f64,
}

/// The codes of all quantised linears of a model at one moment, for counting flips.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    layers: Vec<PackedCodes>,
}

impl Snapshot {
    /// The codes of `model`.
    pub fn of<B: Backend>(model: &BitNetTransformer<B>) -> Self {
        let codes = |(_, linear): (_, &BitLinear<B>)| Some(linear.quantized_weight()?.codes);
        Self { layers: model.linears().filter_map(codes).map(PackedCodes::new).collect() }
    }

    /// The codes as bytes, two bits each, layer by layer.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.layers.iter().flat_map(PackedCodes::to_bytes).collect()
    }

    /// Reads back what [`to_bytes`](Self::to_bytes) returned for a model of the same shape; `None`
    /// if it was another one.
    pub fn from_bytes<B: Backend>(mut bytes: &[u8], model: &BitNetTransformer<B>) -> Option<Self> {
        let quantized = model.linears().filter(|(_, linear)| linear.quant() != WeightQuant::None);
        let mut layers = Vec::new();
        for (_, linear) in quantized {
            let len = linear.weight.lazy_shape().num_elements();
            let (layer, rest) = bytes.split_at_checked(len.div_ceil(4))?;
            layers.push(PackedCodes::from_bytes(layer, len)?);
            bytes = rest;
        }
        bytes.is_empty().then_some(Self { layers })
    }
}

/// Measures every quantised linear of `model`, by name: the weights as they are, the inputs in a
/// forward pass over `tokens`, and the flips since `before`. Returns the codes, too. A model in
/// full precision has none of it.
///
/// Nothing of the model changes. Use it without gradients
/// ([`AutodiffModule::valid`](burn::module::AutodiffModule::valid)), which would only cost memory.
///
/// # Shapes
/// - `tokens`: `[batch, seq]`
///
/// # Errors
/// [`ModelError::MaxSequenceLengthExceeded`] if `seq` is above the model's maximum.
pub fn measure<B: Backend>(
    model: &BitNetTransformer<B>,
    tokens: Tensor<B, 2, Int>,
    before: Option<&Snapshot>,
) -> Result<(Vec<(String, QuantStats)>, Snapshot), ModelError> {
    if model.config().quant == WeightQuant::None {
        return Ok(Default::default());
    }
    // Read only after the pass: a device need not be waited for in between.
    let inputs = RefCell::new(Vec::new());
    model.observe(tokens, |linears, input| {
        let measured = linears.first().and_then(|linear| measure_input(linear, input));
        inputs.borrow_mut().extend(vec![measured; linears.len()]);
    })?;

    let (mut measured, mut after) = (Vec::new(), Snapshot::default());
    for ((name, linear), input) in model.linears().zip(inputs.into_inner()) {
        let Some((codes, scale, near)) = measure_weight(linear) else { continue };
        let previous = before.and_then(|before| before.layers.get(after.layers.len()));
        let share = |count: usize| count as f64 / codes.len() as f64;
        let [scale, near_threshold] = read(Tensor::cat(vec![scale, near], 0));
        let features = linear.weight.dims()[0];
        let input = input.map(read).map(|[saturated, zeros, crest]| InputStats {
            features,
            saturated,
            zeros,
            crest,
        });
        let stats = QuantStats {
            weights: codes.len(),
            zeros: share(codes.zeros()),
            flips: previous.map(|previous| share(codes.flips(previous))),
            scale,
            near_threshold,
            input,
        };
        measured.push((name, stats));
        after.layers.push(codes);
    }
    Ok((measured, after))
}

/// The statistics of all linears together: means weighted by the number of weights and, for the
/// codes of the inputs, of features. `None` without linears.
pub fn total(layers: &[(String, QuantStats)]) -> Option<QuantStats> {
    let layers = || layers.iter().map(|(_, stats)| stats);
    let inputs = || layers().filter_map(|layer| layer.input.as_ref());
    let weights = layers().map(|layer| layer.weights).sum();
    let features = inputs().map(|input| input.features).sum();
    if weights == 0 {
        return None;
    }
    let mean = |value: fn(&QuantStats) -> f64| {
        layers().map(|layer| layer.weights as f64 * value(layer)).sum::<f64>() / weights as f64
    };
    let mean_input = |value: fn(&InputStats) -> f64| {
        inputs().map(|input| input.features as f64 * value(input)).sum::<f64>() / features as f64
    };
    Some(QuantStats {
        weights,
        zeros: mean(|layer| layer.zeros),
        flips: layers()
            .all(|layer| layer.flips.is_some())
            .then(|| mean(|layer| layer.flips.unwrap_or_default())),
        scale: mean(|layer| layer.scale),
        near_threshold: mean(|layer| layer.near_threshold),
        input: (features > 0).then(|| InputStats {
            features,
            saturated: mean_input(|input| input.saturated),
            zeros: mean_input(|input| input.zeros),
            crest: mean_input(|input| input.crest),
        }),
    })
}

/// The statistics of each block's linears together, in the order of the blocks; `layers` are those
/// that [`measure`] returns, in its order.
pub fn by_block(layers: &[(String, QuantStats)]) -> Vec<QuantStats> {
    // "layers.3.mlp.up_proj" is a linear of block "layers.3".
    let block = |name: &str| name.match_indices('.').nth(1).map_or(name.len(), |(at, _)| at);
    let is_same = |(a, _): &(String, _), (b, _): &(String, _)| a[..block(a)] == b[..block(b)];
    layers.chunk_by(is_same).filter_map(total).collect()
}

/// Codes, mean scale `[1]` and share near a threshold `[1]`.
fn measure_weight<B: Backend>(
    linear: &BitLinear<B>,
) -> Option<(PackedCodes, Tensor<B, 1>, Tensor<B, 1>)> {
    let quantized = linear.quantized_weight()?;
    let weight = linear.weight.val().detach().reshape(quantized.codes.shape());
    let distance = match linear.quant() {
        WeightQuant::Ternary => (weight.abs() / quantized.scale.clone()).sub_scalar(0.5).abs(),
        _ => {
            // The threshold is the mean of what shares a scale.
            let scales = quantized.scale.dims();
            let dims: Vec<usize> = (0..3).filter(|&dim| scales[dim] == 1 && dim > 0).collect();
            let mean = weight.clone().mean_dims(&dims);
            (weight - mean).abs() / quantized.scale.clone()
        }
    };
    let near = distance.lower_elem(NEAR_THRESHOLD).float().mean();
    Some((PackedCodes::new(quantized.codes), quantized.scale.mean(), near))
}

/// Share of saturated codes, of zeros, and crest factor: `[3]`.
fn measure_input<B: Backend>(linear: &BitLinear<B>, x: &Tensor<B, 2>) -> Option<Tensor<B, 1>> {
    let (x, codes) = linear.input_codes(x.clone())?;
    let saturated = codes.clone().abs().greater_equal_elem(127.0).float().mean();
    let zeros = codes.equal_elem(0.0).float().mean();
    let rms = x.clone().square().mean_dim(1).sqrt();
    let crest = (x.abs().max_dim(1) / rms.clamp_min(f64::from(f32::MIN_POSITIVE))).mean();
    Some(Tensor::cat(vec![saturated, zeros, crest], 0))
}

fn read<B: Backend, const N: usize>(values: Tensor<B, 1>) -> [f64; N] {
    let mut read = [f64::NAN; N];
    for (to, value) in read.iter_mut().zip(values.into_data().iter::<f64>()) {
        *to = value;
    }
    read
}
