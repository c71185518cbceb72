//! What a run keeps: checkpoints and model folders.

use std::{path::Path, time::Instant};

use bitnet::{BitNetTransformer, pretrained};
use burn::{
    module::{AutodiffModule, Module},
    optim::Optimizer,
    tensor::backend::AutodiffBackend,
};

use super::{Run, quant_monitor::QuantMonitor, setup::Setup};
use crate::{
    output::Records,
    training::{checkpoint::Checkpoint, learner::model::LanguageModel},
};

impl<B: AutodiffBackend> Run<'_, B> {
    /// Whether a checkpoint of the current step is due.
    pub(super) fn checkpoint_due(&self) -> bool {
        let section = &self.setup.config.checkpoint;
        let (step, (_, at)) = (self.state.step, self.saved);
        let by_step = section.every > 0 && step.is_multiple_of(section.every);
        let by_time = section.minutes > 0.0 && at.elapsed().as_secs_f64() >= 60.0 * section.minutes;
        by_step || by_time
    }

    /// Writes a checkpoint of the current step, and the model.
    pub(super) fn save(&mut self, metrics: &mut Records) -> anyhow::Result<()> {
        self.show_activity(Some("saving"));
        let Setup { config, folder, optimizer, .. } = self.setup;
        let lengths = metrics.sync()?;
        self.state.metrics_bytes = lengths.metrics;
        self.state.instruments_bytes = lengths.instruments;
        let codes = self.monitor.as_ref().map(QuantMonitor::codes).unwrap_or_default();
        Checkpoint::save::<B>(
            &folder.checkpoints(),
            config,
            &self.state,
            self.learner.model().into_record(),
            Optimizer::<LanguageModel<B>, B>::to_record(optimizer),
            &codes,
            self.average.clone().map(Module::into_record),
        )?;
        self.saved = (self.state.step, Instant::now());
        if let Some(average) = &self.average {
            self.write_model(&folder.ema(), &average.transformer)?;
        }
        self.export(&folder.model())
    }

    /// Writes the model.
    pub(super) fn export(&self, path: &Path) -> anyhow::Result<()> {
        self.write_model(path, &self.learner.model().valid().transformer)
    }

    /// Writes a model folder.
    fn write_model(
        &self,
        path: &Path,
        model: &BitNetTransformer<B::InnerBackend>,
    ) -> anyhow::Result<()> {
        let Setup { config, text, .. } = self.setup;
        let tokenizer = text.tokenizer.as_ref();
        let kept = pretrained::save(path, model, tokenizer, config.checkpoint.dtype)?;
        if let Some(kept) = kept {
            let (path, kept) = (path.display(), kept.display());
            note!("{path} had other files than the model's: it is {kept} now");
        }
        Ok(())
    }
}
