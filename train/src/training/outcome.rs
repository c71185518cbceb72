use bitnet::{BitNetTransformerConfig, evaluate::Evaluation, pretrained::WeightDtype};
use command_line::thousands;
use serde::{Deserialize, Serialize};

use super::{
    speed::Speed,
    state::{End, State, Validated},
};
use crate::{config::Config, run_folder::RunFolder};

/// Largest difference, in nats per token, between the losses of the trainer's model and of the
/// exported one: what another order of summation may make.
const PARITY: f64 = 1e-5;

/// How a run ended: `result.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Why it ended.
    pub end: End,
    /// Number of parameters.
    pub parameters: u64,
    /// Bytes of the packed model, parameters that are not quantised in `checkpoint.dtype`.
    pub packed_bytes: u64,
    step: u64,
    tokens: u64,
    seconds: f64,
    /// Over all training steps.
    tokens_per_second: f64,
    /// Floating-point operations per token in training.
    flops_per_token: f64,
    /// Matrix products, in floating-point operations per second, as measured before the last
    /// session.
    #[serde(rename = "matmul_ceiling")]
    matmul_peak: Option<f64>,
    /// What of that the training did.
    model_flops_utilization: Option<f64>,
    /// Time beside the steps for measuring the quantised layers.
    instrument_seconds: f64,
    /// Tokens that the last validation predicted.
    validation_tokens: usize,
    /// Loss of the last validation, in nats per token.
    pub validation_loss: f64,
    /// The same in bits per byte.
    pub validation_bits_per_byte: f64,
    /// Loss there of the model in `model/`, read back.
    exported_loss: f64,
    /// Loss there of the moving average of the weights, if there is one.
    pub ema_loss: Option<f64>,
    /// Whether the exported model has the trained one's loss.
    exported_model_agrees: bool,
    /// The lowest loss of the validations during training.
    best: Option<Validated>,
}

/// How large a model is.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelSize {
    parameters: u64,
    packed_bytes: u64,
}

impl ModelSize {
    /// Of a model whose other parameters are stored as `dtype`.
    pub fn new(model: &BitNetTransformerConfig, dtype: WeightDtype) -> Self {
        // Valid models have far fewer.
        let parameters = model.parameter_count() as u64;
        Self { parameters, packed_bytes: model.packed_bytes(dtype.bytes() as u128) as u64 }
    }
}

impl ModelSize {
    /// Number of parameters.
    pub fn parameters(self) -> u64 {
        self.parameters
    }
}

impl Outcome {
    /// Sums up a run from the losses of the trainer's model and of the exported one.
    pub fn new(
        end: End,
        state: &State,
        size: ModelSize,
        trained: Evaluation,
        exported: Evaluation,
        averaged: Option<Evaluation>,
        speed: &Speed,
    ) -> Self {
        let tokens_per_second = state.tokens as f64 / state.seconds;
        Self {
            end,
            parameters: size.parameters,
            packed_bytes: size.packed_bytes,
            step: state.step,
            tokens: state.tokens,
            seconds: state.seconds,
            tokens_per_second,
            flops_per_token: speed.flops_per_token,
            matmul_peak: speed.matmul_peak,
            model_flops_utilization: speed
                .matmul_peak
                .map(|_| speed.utilization(tokens_per_second)),
            instrument_seconds: state.instrument_seconds,
            validation_tokens: trained.tokens,
            validation_loss: trained.loss(),
            validation_bits_per_byte: trained.bits_per_byte(),
            exported_loss: exported.loss(),
            ema_loss: averaged.map(|averaged| averaged.loss()),
            // In this form it is false for NaN.
            exported_model_agrees: (exported.loss() - trained.loss()).abs() <= PARITY,
            best: state.best,
        }
    }

    /// Tokens trained on per second, over the whole run.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds
    }

    /// Prints the outcome, and a warning if the exported model is another one.
    pub fn print(&self, config: &Config, folder: &RunFolder) {
        if self.end != End::Steps {
            say!("ended early: {} to go on", self.end.describe(config));
        }
        let part = if config.eval.final_windows == 0 { "whole" } else { "of the" };
        say!(
            "done: {} steps, {} tokens in {:.0} s, {} tokens/s",
            thousands(self.step),
            thousands(self.tokens),
            self.seconds,
            thousands(format!("{:.0}", self.tokens_per_second)),
        );
        say!(
            "{part} validation part ({} tokens): {:.4} nats/token, {:.4} bits/byte",
            thousands(self.validation_tokens),
            self.validation_loss,
            self.validation_bits_per_byte,
        );
        if let (Some(peak), Some(share)) = (self.matmul_peak, self.model_flops_utilization) {
            say!(
                "{:.1} MFLOP per token: {:.1} % of the measured matmul peak, {:.1} GFLOP/s (MFU)",
                self.flops_per_token / 1e6,
                100.0 * share,
                peak / 1e9,
            );
        }
        if self.instrument_seconds > 0.0 {
            say!(
                "instruments took {:.1} s more, {:.2} % of the training's time",
                self.instrument_seconds,
                100.0 * self.instrument_seconds / self.seconds,
            );
        }
        if let Some(Validated { step, loss }) = self.best {
            say!("lowest loss of the validations during training: {loss:.4} after step {step}");
        }
        if let Some(loss) = self.ema_loss {
            say!("moving average of the weights, in {}: {loss:.4}", folder.ema().display());
        }
        let model = folder.model();
        if self.exported_model_agrees {
            say!("model in {}; read back, it has the same loss", model.display());
        } else {
            say!("model in {}", model.display());
            note!(
                "WARNING: read back, the model in {} has a validation loss of {:.6}, the trained \
                 one has {:.6}: it is not the model that was trained{}",
                model.display(),
                self.exported_loss,
                self.validation_loss,
                match config.checkpoint.dtype {
                    WeightDtype::F32 => "",
                    _ => " (checkpoint.dtype = \"f32\" stores the weights as they are)",
                }
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_loss_is_no_parity() {
        let agrees = |nats| {
            let evaluation = |nats| Evaluation { nats, tokens: 100, bytes: 100 };
            let (state, speed) = (State::default(), Speed::default());
            let (size, trained, exported) =
                (ModelSize::default(), evaluation(200.0), evaluation(nats));
            Outcome::new(End::Steps, &state, size, trained, exported, None, &speed)
                .exported_model_agrees
        };
        assert!(agrees(200.0) && agrees(200.0009));
        assert!(!agrees(200.002) && !agrees(199.998) && !agrees(f64::NAN));
    }
}
