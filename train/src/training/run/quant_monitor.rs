use bitnet::{
    BitNetTransformer,
    data::Batch,
    quant::WeightQuant,
    quant_stats::{QuantStats, Snapshot, measure},
};
use burn::tensor::{Int, Tensor, backend::AutodiffBackend};

use super::setup::Setup;

/// Measures what quantisation does to a run's model, always over the same text: the first window
/// that is held out. What it measures is a function of the weights now and at the measurement
/// before, and it changes none of them.
pub struct QuantMonitor<B: AutodiffBackend> {
    window: Tensor<B::InnerBackend, 2, Int>,
    before: Option<Snapshot>,
}

impl<B: AutodiffBackend> QuantMonitor<B> {
    /// The monitor of a run that begins with `model`, or goes on with it from the `codes` of a
    /// checkpoint; `None` where nothing is to be measured.
    pub fn new(
        setup: &Setup<B>,
        codes: Option<&[u8]>,
        model: &BitNetTransformer<B::InnerBackend>,
    ) -> Option<Self> {
        let Setup { config, text, device, .. } = setup;
        if !config.log.instruments || config.model.quant == WeightQuant::None {
            return None;
        }
        let tokens = text.held_out();
        let len = config.model.context.min(tokens.len() - 1);
        let before = match codes {
            Some(codes) => Snapshot::from_bytes(codes, model),
            None => Some(Snapshot::of(model)),
        };
        Some(Self { window: Batch::gather(&tokens, &[0], len, device).inputs, before })
    }

    /// Measures every quantised linear.
    pub fn measure(
        &mut self,
        model: &BitNetTransformer<B::InnerBackend>,
    ) -> Vec<(String, QuantStats)> {
        let (layers, after) = measure(model, self.window.clone(), self.before.as_ref())
            .expect("the window is as long as the context at most");
        self.before = Some(after);
        layers
    }

    /// The codes at the last measurement, for a checkpoint.
    pub fn codes(&self) -> Vec<u8> {
        self.before.as_ref().map(Snapshot::to_bytes).unwrap_or_default()
    }
}
