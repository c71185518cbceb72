use std::path::Path;

use burn::tensor::backend::Backend;

use super::{FloatModel, PackedModel, PretrainedError, reader::CheckpointReader};
use crate::{
    engine::{Engine, EngineError},
    packed::TableFormat,
};

impl<B: Backend> FloatModel<B> {
    /// Reads the model `path`, of any form that [`CheckpointReader`] opens.
    ///
    /// # Errors
    /// [`PretrainedError`] if a file is missing, damaged, or does not fit the others, and
    /// [`PretrainedError::Packed`] for the folder of a [`PackedModel`].
    pub fn load(path: &Path, device: &B::Device) -> Result<Self, PretrainedError> {
        CheckpointReader::open(path)?.load(device)
    }

    /// The same with packed weights, for the CPU. Embedding and output head are held in `tables`.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if its quantisers are not those of packed weights.
    pub fn pack(self, tables: TableFormat) -> Result<PackedModel, EngineError> {
        let model = Engine::new(&self.model, tables)?;
        Ok(PackedModel { model, tokenizer: self.tokenizer, settings: self.settings })
    }

    /// The device the model is on.
    pub fn device(&self) -> B::Device {
        self.model.device()
    }
}
