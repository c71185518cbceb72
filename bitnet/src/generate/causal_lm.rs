//! The interface of a model for generation and evaluation.

use burn::tensor::{ElementConversion, Int, Tensor, TensorData, backend::Backend};
use rayon::prelude::*;

use crate::{
    engine::{self, Engine},
    loss::token_losses,
    nn::{
        BitNetTransformer, BitNetTransformerConfig, KvCache, ModelError, SequenceBatch,
        SequenceCache,
    },
};

/// A decoder-only language model, with packed weights or with latent ones. It reads any number of
/// sequences at a time, each at a position of its own.
pub trait CausalLm {
    /// KV cache of one sequence.
    type Cache: SequenceCache;

    /// The configuration of the model.
    fn config(&self) -> &BitNetTransformerConfig;

    /// An empty cache.
    fn empty_cache(&self) -> Self::Cache;

    /// Reads the new tokens of a batch, whose caches then hold them too, and returns the logits of
    /// the token after each sequence: `[sequences, num_tokens]`. Sequences without a new token are
    /// left out.
    ///
    /// # Errors
    /// [`ModelError::MaxSequenceLengthExceeded`] if a sequence would be longer than the model
    /// allows, [`ModelError::UnknownToken`] for a token that it does not have. No cache has
    /// changed then.
    fn next_logits(
        &self,
        batch: &mut SequenceBatch<'_, Self::Cache>,
    ) -> Result<Vec<f32>, ModelError>;

    /// As [`next_logits`](Self::next_logits), of the token after every new one: `[all tokens,
    /// num_tokens]`, one sequence after the other.
    ///
    /// # Errors
    /// As [`next_logits`](Self::next_logits).
    fn all_logits(
        &self,
        batch: &mut SequenceBatch<'_, Self::Cache>,
    ) -> Result<Vec<f32>, ModelError>;

    /// The sum of `−ln p(token | tokens before it)` over all tokens of some windows of one length
    /// but the first `context + 1` of each. The last token of a window is predicted, not read.
    ///
    /// # Errors
    /// As [`next_logits`](Self::next_logits).
    fn nats(&self, windows: &[&[u32]], context: usize) -> Result<f64, ModelError> {
        let mut nats = 0.0;
        for window in windows {
            let Some((_, read)) = window.split_last() else { continue };
            let logits = self.all_logits(&mut [(&mut self.empty_cache(), read)])?;
            let rows: Vec<&[f32]> = logits.chunks(self.config().num_tokens).skip(context).collect();
            let losses = rows.par_iter().zip(&window[context + 1..]);
            let losses: Vec<f64> = losses.map(|(row, &target)| loss(row, target)).collect();
            nats += losses.iter().sum::<f64>();
        }
        Ok(nats)
    }
}

/// `−ln softmax(logits)[target]`, in 64 bits where training's `cpu::cross_entropy` has 32: losses of
/// models are compared to six digits.
fn loss(logits: &[f32], target: u32) -> f64 {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let total: f64 = logits.iter().map(|&logit| (f64::from(logit) - highest).exp()).sum();
    highest + total.ln() - f64::from(logits[target as usize])
}

impl CausalLm for Engine {
    type Cache = engine::KvCache;

    fn config(&self) -> &BitNetTransformerConfig {
        self.config()
    }

    fn empty_cache(&self) -> engine::KvCache {
        self.new_cache()
    }

    fn next_logits(
        &self,
        batch: &mut SequenceBatch<'_, engine::KvCache>,
    ) -> Result<Vec<f32>, ModelError> {
        self.forward_next(batch)
    }

    fn all_logits(
        &self,
        batch: &mut SequenceBatch<'_, engine::KvCache>,
    ) -> Result<Vec<f32>, ModelError> {
        self.forward(batch)
    }
}

impl<B: Backend> CausalLm for BitNetTransformer<B> {
    type Cache = KvCache<B>;

    fn config(&self) -> &BitNetTransformerConfig {
        self.config()
    }

    fn empty_cache(&self) -> KvCache<B> {
        self.new_cache(1)
    }

    fn next_logits(
        &self,
        batch: &mut SequenceBatch<'_, KvCache<B>>,
    ) -> Result<Vec<f32>, ModelError> {
        Ok(self.forward_sequences_next(batch)?.map(values).unwrap_or_default())
    }

    fn all_logits(
        &self,
        batch: &mut SequenceBatch<'_, KvCache<B>>,
    ) -> Result<Vec<f32>, ModelError> {
        Ok(self.forward_sequences(batch)?.map(values).unwrap_or_default())
    }

    /// All windows in one pass, whose losses stay on the device.
    fn nats(&self, windows: &[&[u32]], context: usize) -> Result<f64, ModelError> {
        let len = windows.first().map_or(0, |window| window.len().saturating_sub(1));
        if len <= context {
            return Ok(0.0);
        }
        let ids = |offset: usize| {
            let ids = windows.iter().flat_map(|window| &window[offset..offset + len]);
            let ids: Vec<i32> = ids.map(|&token| token as i32).collect();
            let ids = TensorData::new(ids, [windows.len(), len]);
            Tensor::<B, 2, Int>::from_data(ids, &self.device())
        };
        let losses = token_losses(self.forward(ids(0))?, ids(1));
        Ok(losses.narrow(1, context, len - context).sum().into_scalar().elem())
    }
}

fn values<B: Backend>(logits: Tensor<B, 2>) -> Vec<f32> {
    logits.into_data().iter::<f32>().collect()
}
