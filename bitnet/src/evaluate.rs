//! The loss of a model over a whole text.

use std::ops::Range;

use crate::{
    data::{Tokens, Window},
    generate::CausalLm,
    nn::ModelError,
    tokenizer::Tokenizer,
};

/// A sum of losses, and what it is over.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Evaluation {
    /// Sum of the losses, in nats.
    pub nats: f64,
    /// Predicted tokens.
    pub tokens: usize,
    /// Bytes of the text that the predicted tokens stand for; the end of a document has none.
    pub bytes: usize,
}

impl Evaluation {
    /// Mean loss in nats per token.
    pub fn loss(&self) -> f64 {
        self.nats / self.tokens as f64
    }

    /// Bits per byte of the text, which is comparable across tokenizers.
    pub fn bits_per_byte(&self) -> f64 {
        self.nats / std::f64::consts::LN_2 / self.bytes as f64
    }

    /// Perplexity a token.
    pub fn perplexity(&self) -> f64 {
        self.loss().exp()
    }

    /// Adds the sums of another part of the text.
    pub fn add(&mut self, other: Self) {
        self.nats += other.nats;
        self.tokens += other.tokens;
        self.bytes += other.bytes;
    }
}

/// Windows of one shape, evaluated together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowBatch {
    starts: Vec<usize>,
    len: usize,
    context: usize,
}

impl WindowBatch {
    /// Groups consecutive windows of the same shape, at most `batch_size` together.
    pub fn group(windows: &[Window], batch_size: usize) -> Vec<Self> {
        windows
            .chunk_by(|a, b| (a.len, a.context) == (b.len, b.context))
            .flat_map(|same| same.chunks(batch_size.max(1)))
            .map(|windows| Self {
                starts: windows.iter().map(|window| window.start).collect(),
                len: windows[0].len,
                context: windows[0].context,
            })
            .collect()
    }

    /// Positions of the tokens that each window's loss counts.
    fn targets(&self) -> impl Iterator<Item = Range<usize>> {
        self.starts.iter().map(|start| start + self.context + 1..start + self.len + 1)
    }

    /// The loss of `model` on these windows of `tokens`.
    ///
    /// # Errors
    /// [`ModelError::MaxSequenceLengthExceeded`] if the windows are longer than the model allows.
    pub fn evaluate<M: CausalLm>(
        &self,
        model: &M,
        tokenizer: &dyn Tokenizer,
        tokens: &Tokens,
    ) -> Result<Evaluation, ModelError> {
        let window = |start: &usize| tokens.range(*start..start + self.len + 1).collect();
        let windows: Vec<Vec<u32>> = self.starts.iter().map(window).collect();
        let windows: Vec<&[u32]> = windows.iter().map(Vec::as_slice).collect();
        Ok(self.sum(model.nats(&windows, self.context)?, tokenizer, tokens))
    }

    fn sum(&self, nats: f64, tokenizer: &dyn Tokenizer, tokens: &Tokens) -> Evaluation {
        let bytes_of = |range| tokenizer.decode(&tokens.range(range).collect::<Vec<_>>()).len();
        let bytes = self.targets().map(bytes_of).sum();
        Evaluation { nats, tokens: self.targets().map(|range| range.len()).sum(), bytes }
    }
}
