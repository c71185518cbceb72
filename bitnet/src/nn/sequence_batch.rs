use super::{BitNetTransformerConfig, ModelError};

/// A batch of sequences of any lengths: of each its KV cache, and the new tokens that follow those
/// in the cache. [`BitNetTransformer`](super::BitNetTransformer) and
/// [`Engine`](crate::engine::Engine) read one in a single forward pass.
pub type SequenceBatch<'a, C> = [(&'a mut C, &'a [u32])];

/// KV cache of the tokens that have been read of one sequence.
///
/// A clone goes on from the same tokens: of sequences that begin alike, the common part need be
/// read once only.
pub trait SequenceCache: Clone {
    /// Number of tokens held.
    fn len(&self) -> usize;

    /// Whether no token is held.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all tokens but the first `len`; no effect if fewer are held.
    fn truncate(&mut self, len: usize);
}

/// The row of the last new token of each sequence that has one, where the new tokens of a batch are
/// rows, one sequence after the other.
pub(crate) fn last_rows<C>(batch: &SequenceBatch<'_, C>) -> Vec<usize> {
    let lengths = batch.iter().map(|(_, tokens)| tokens.len()).filter(|&len| len > 0);
    let ends = lengths.scan(0, |end, len| {
        *end += len;
        Some(*end)
    });
    ends.map(|end| end - 1).collect()
}

impl BitNetTransformerConfig {
    /// Checks that a model of this configuration can read a batch.
    ///
    /// # Errors
    /// [`ModelError::MaxSequenceLengthExceeded`] if a sequence would be longer than the model
    /// allows, [`ModelError::UnknownToken`] for a token that it does not have.
    pub(crate) fn check_batch<C: SequenceCache>(
        &self,
        batch: &SequenceBatch<'_, C>,
    ) -> Result<(), ModelError> {
        for (cache, tokens) in batch {
            self.check_seq_len(cache.len() + tokens.len())?;
            self.check_tokens(tokens)?;
        }
        Ok(())
    }

    /// Checks the length of a sequence, cached tokens included.
    pub(super) fn check_seq_len(&self, actual: usize) -> Result<(), ModelError> {
        let max = self.max_seq_len;
        if actual > max {
            return Err(ModelError::MaxSequenceLengthExceeded { actual, max });
        }
        Ok(())
    }

    /// Checks that the vocabulary has these tokens.
    pub(crate) fn check_tokens(&self, tokens: &[u32]) -> Result<(), ModelError> {
        let max = self.num_tokens;
        match tokens.iter().find(|&&token| token as usize >= max) {
            Some(&token) => Err(ModelError::UnknownToken { token, max }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rows_are_those_of_sequences_with_new_tokens() {
        let [a, b, c, d] = &mut [(); 4];
        let tokens = [1, 2, 3];
        let batch = [(a, &tokens[..]), (b, &tokens[..0]), (c, &tokens[..1]), (d, &tokens[..2])];
        assert_eq!(last_rows(&batch), [2, 3, 5]);
    }
}
