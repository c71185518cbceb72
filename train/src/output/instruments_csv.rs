use bitnet::quant_stats::QuantStats;
use serde::Serialize;

/// What `instruments.csv` has beside the step and the layer.
pub const INSTRUMENTS: [&str; 7] = [
    "zeros",
    "flip_rate",
    "scale",
    "near_threshold",
    "saturated",
    "activation_zeros",
    "activation_crest",
];

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
    pub fn new(step: u64, steps: u64, (layer, values): &'a (String, QuantStats)) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_columns() {
        let values = QuantStats {
            weights: 1,
            zeros: 0.5,
            flips: None,
            scale: 1.0,
            near_threshold: 0.0,
            input: None,
        };
        let layer = ("lm_head".to_string(), values);
        let mut table = csv::Writer::from_writer(Vec::new());
        table.serialize(InstrumentsRow::new(20, 20, &layer)).unwrap();
        let text = String::from_utf8(table.into_inner().unwrap()).unwrap();
        let header = [&["step", "layer"], &INSTRUMENTS[..]].concat().join(",");
        assert_eq!(text.lines().next(), Some(&*header));
    }
}
