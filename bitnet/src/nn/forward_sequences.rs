use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::{
    BitNetTransformer, KvCache, ModelError, Observer, SequenceBatch,
    attention::{Context, Segment},
    sequence_batch::last_rows,
};
use crate::ops::{embedding::embedding, rotate::Positions};

impl<B: Backend> BitNetTransformer<B> {
    /// Logits for the new tokens of a batch, whose caches then hold them too. The tokens of all
    /// sequences go through the linears together, and each attends to those of its own sequence.
    /// `None` if there is no token.
    ///
    /// Where activations are quantised over the whole tensor
    /// ([`ActivationQuant::Int8PerTensor`](crate::quant::ActivationQuant)), the range is that of
    /// all sequences together, as in training.
    ///
    /// # Shapes
    /// - output: `[all tokens, num_tokens]`, one sequence after the other
    ///
    /// # Errors
    /// [`ModelError::MaxSequenceLengthExceeded`] if a sequence would be longer than the model
    /// allows, [`ModelError::UnknownToken`] for a token that it does not have,
    /// [`ModelError::CacheBatchMismatch`] for a cache of several sequences. No cache has changed
    /// then.
    pub fn forward_sequences(
        &self,
        batch: &mut SequenceBatch<'_, KvCache<B>>,
    ) -> Result<Option<Tensor<B, 2>>, ModelError> {
        let hidden = self.hidden_of_sequences(batch)?;
        Ok(hidden.map(|hidden| self.head(hidden).squeeze_dim(0)))
    }

    /// As [`forward_sequences`](Self::forward_sequences), for the last token of each sequence that
    /// has a new one: `[sequences, num_tokens]`.
    ///
    /// # Errors
    /// As [`forward_sequences`](Self::forward_sequences).
    pub fn forward_sequences_next(
        &self,
        batch: &mut SequenceBatch<'_, KvCache<B>>,
    ) -> Result<Option<Tensor<B, 2>>, ModelError> {
        let Some(hidden) = self.hidden_of_sequences(batch)? else { return Ok(None) };
        let last: Vec<i32> = last_rows(batch).into_iter().map(|row| row as i32).collect();
        let count = last.len();
        let hidden = match count == hidden.dims()[1] {
            true => hidden,
            false => {
                let last = TensorData::new(last, [count]);
                hidden.select(1, Tensor::<B, 1, Int>::from_data(last, &self.device()))
            }
        };
        Ok(Some(self.head(hidden).squeeze_dim(0)))
    }

    /// The residual stream after the last block, `[1, all tokens, dim]`.
    fn hidden_of_sequences(
        &self,
        batch: &mut SequenceBatch<'_, KvCache<B>>,
    ) -> Result<Option<Tensor<B, 3>>, ModelError> {
        batch.iter().try_for_each(|(cache, _)| cache.check_batch_size(1))?;
        self.config().check_batch(batch)?;
        let ids: Vec<i32> =
            batch.iter().flat_map(|(_, tokens)| *tokens).map(|&token| token as i32).collect();
        let count = ids.len();
        if count == 0 {
            return Ok(None);
        }
        let ids = TensorData::new(ids, [1, count]);
        let ids = Tensor::<B, 2, Int>::from_data(ids, &self.device());
        let mut batch: Vec<_> = batch.iter_mut().filter(|(_, tokens)| !tokens.is_empty()).collect();
        let positions: Vec<Positions<B>> =
            batch.iter().map(|(cache, tokens)| self.rope.at(cache.len(), tokens.len())).collect();
        let mut x = embedding(self.embed_tokens.weight.val(), ids);
        for (index, layer) in self.layers.iter().enumerate() {
            let segments = batch.iter_mut().zip(&positions).map(|((cache, tokens), positions)| {
                let cache = cache.layer_mut(index);
                Segment { batch: 1, seq: tokens.len(), positions, cache }
            });
            x = layer.forward(x, Context::Cached(segments.collect()), Observer::NONE);
        }
        for (cache, tokens) in batch {
            cache.advance(tokens.len());
        }
        Ok(Some(x))
    }
}
