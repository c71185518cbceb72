use std::path::Path;

use burn::tensor::backend::Backend;

use super::{Packed, Pretrained, PretrainedError, stored::Stored};
use crate::{
    engine::{Engine, EngineError},
    packed::TableFormat,
};

impl<B: Backend> Pretrained<B> {
    /// Reads the model `path`, of any form that [`Stored`] opens.
    ///
    /// # Errors
    /// [`PretrainedError`] if a file is missing, damaged, or does not fit the others, and
    /// [`PretrainedError::Packed`] for the folder of a [`Packed`] model.
    pub fn load(path: &Path, device: &B::Device) -> Result<Self, PretrainedError> {
        Stored::open(path)?.load(device)
    }

    /// The same with packed weights, for the CPU. Embedding and output head are held in `tables`.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if its quantisers are not those of packed weights.
    pub fn pack(self, tables: TableFormat) -> Result<Packed, EngineError> {
        let model = Engine::new(&self.model, tables)?;
        Ok(Packed { model, tokenizer: self.tokenizer, settings: self.settings })
    }

    /// The device the model is on.
    pub fn device(&self) -> B::Device {
        self.model.device()
    }
}
