use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::GenerateError;
use crate::{
    engine::{Cache, Engine},
    model::{BitNetTransformer, KvCache},
};

/// A model and what it has read so far.
pub(super) trait Reader {
    /// Most tokens that it can have read.
    fn max_seq_len(&self) -> usize;

    /// Tokens that it has read.
    fn len(&self) -> usize;

    /// Forgets them.
    fn clear(&mut self);

    /// Reads on, and gives the logits of the next token.
    fn read(&mut self, tokens: &[u32]) -> Result<Vec<f32>, GenerateError>;
}

/// Reads with latent weights, on any backend.
pub(super) struct ModelReader<'a, B: Backend> {
    model: &'a BitNetTransformer<B>,
    device: B::Device,
    cache: KvCache<B>,
}

impl<'a, B: Backend> ModelReader<'a, B> {
    pub(super) fn new(model: &'a BitNetTransformer<B>, device: &B::Device) -> Self {
        Self { model, device: device.clone(), cache: model.new_cache(1) }
    }
}

impl<B: Backend> Reader for ModelReader<'_, B> {
    fn max_seq_len(&self) -> usize {
        self.model.config().max_seq_len
    }

    fn len(&self) -> usize {
        self.cache.len()
    }

    fn clear(&mut self) {
        self.cache.truncate(0);
    }

    fn read(&mut self, tokens: &[u32]) -> Result<Vec<f32>, GenerateError> {
        let ids: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
        let input = TensorData::new(ids, [1, tokens.len()]);
        let input = Tensor::<B, 2, Int>::from_data(input, &self.device);
        let logits = self.model.forward_next(input, &mut self.cache)?;
        logits.into_data().convert::<f32>().to_vec().map_err(|_| GenerateError::NonFinite)
    }
}

/// Reads with packed weights, on the CPU.
pub(super) struct EngineReader<'a> {
    engine: &'a Engine,
    cache: Cache,
}

impl<'a> EngineReader<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        Self { engine, cache: engine.new_cache() }
    }
}

impl Reader for EngineReader<'_> {
    fn max_seq_len(&self) -> usize {
        self.engine.config().max_seq_len
    }

    fn len(&self) -> usize {
        self.cache.len()
    }

    fn clear(&mut self) {
        self.cache.truncate(0);
    }

    fn read(&mut self, tokens: &[u32]) -> Result<Vec<f32>, GenerateError> {
        Ok(self.engine.forward_next(&mut [(&mut self.cache, tokens)])?)
    }
}
