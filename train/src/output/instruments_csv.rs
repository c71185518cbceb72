use bitnet::instruments::Instruments;
use serde::Serialize;

/// A row of `instruments.csv`: one linear at one log interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstrumentsRow<'a> {
    step: u64,
    layer: &'a str,
    zeros: f64,
    flip_rate: Option<f64>,
    scale: f64,
    near_threshold: f64,
    saturated: Option<f64>,
    activation_zeros: Option<f64>,
    activation_crest: Option<f64>,
}

impl<'a> InstrumentsRow<'a> {
    /// The row of `layer` after `step`, the last of `steps` since the row before.
    pub fn new(step: u64, steps: u64, (layer, values): &'a (String, Instruments)) -> Self {
        Self {
            step,
            layer,
            zeros: values.zeros,
            flip_rate: values.flips.map(|flips| flips / steps as f64),
            scale: values.scale,
            near_threshold: values.near_threshold,
            saturated: values.input.map(|input| input.saturated),
            activation_zeros: values.input.map(|input| input.zeros),
            activation_crest: values.input.map(|input| input.crest),
        }
    }
}
