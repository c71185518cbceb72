//! A model on disk: a folder with `config.json`, `model.safetensors` and `tokenizer.json` in the
//! layout of the Hugging Face BitNet checkpoints.
//!
//! ```no_run
//! use bitnet::{generate::GenerationConfig, pretrained::Pretrained};
//! # type B = burn_flex::Flex;
//!
//! let model = Pretrained::<B>::load("runs/quickstart/model".as_ref(), &Default::default())?;
//! let text = model.generate("In the beginning", &GenerationConfig::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod error;
mod names;
mod packed;
mod weights;

use std::{fs, path::Path};

use burn::tensor::backend::Backend;

pub use error::PretrainedError;
pub use packed::Packed;
pub use weights::WeightDtype;

use crate::{
    engine::{Engine, EngineError},
    generate::{GenerateError, Generation, GenerationConfig},
    model::{BitNetTransformer, BitNetTransformerConfig},
    packed::TableFormat,
    storage,
    tokenizer::{self, Tokenizer},
};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";

/// A model and its tokenizer.
pub struct Pretrained<B: Backend> {
    /// The model.
    pub model: BitNetTransformer<B>,
    /// The tokenizer it was trained with.
    pub tokenizer: Box<dyn Tokenizer>,
    device: B::Device,
}

impl<B: Backend> Pretrained<B> {
    /// Reads the model folder `path`.
    ///
    /// # Errors
    /// [`PretrainedError`] if a file is missing, damaged, or does not fit the others, and
    /// [`PretrainedError::Packed`] for the folder of a [`Packed`] model.
    pub fn load(path: &Path, device: &B::Device) -> Result<Self, PretrainedError> {
        if Packed::is_at(path) {
            return Err(PretrainedError::Packed);
        }
        let read = |name| {
            let path = path.join(name);
            fs::read(&path).map_err(|error| PretrainedError::Read { path, error })
        };
        let config = config::from_json(&read(CONFIG)?)?;
        let weights = read(WEIGHTS)?;
        let tokenizer = load_tokenizer(path, &config)?;
        let model = weights::load(&weights, &config, device)?;
        Ok(Self { model, tokenizer, device: device.clone() })
    }

    /// Continues `prompt`; gives the new text alone.
    ///
    /// # Errors
    /// [`GenerateError`] for an unusable prompt or sampling parameter.
    pub fn generate(
        &self,
        prompt: &str,
        config: &GenerationConfig,
    ) -> Result<String, GenerateError> {
        self.stream(prompt, config)?.collect()
    }

    /// As [`generate`](Self::generate), piece by piece as the text is made.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn stream(
        &self,
        prompt: &str,
        config: &GenerationConfig,
    ) -> Result<Generation<'_>, GenerateError> {
        Generation::new(&self.model, self.tokenizer.as_ref(), &self.device, prompt, config)
    }

    /// The same with packed weights, for the CPU. Embedding and output head are held in `tables`.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if its quantisers are not those of packed weights.
    pub fn pack(self, tables: TableFormat) -> Result<Packed, EngineError> {
        Ok(Packed { engine: Engine::new(&self.model, tables)?, tokenizer: self.tokenizer })
    }

    /// The device the model is on.
    pub fn device(&self) -> &B::Device {
        &self.device
    }
}

/// Reads the tokenizer of a folder whose model has this configuration.
fn load_tokenizer(
    path: &Path,
    config: &BitNetTransformerConfig,
) -> Result<Box<dyn Tokenizer>, PretrainedError> {
    let tokenizer = tokenizer::load(&path.join(TOKENIZER))?;
    match tokenizer.vocab_size() == config.num_tokens {
        true => Ok(tokenizer),
        false => Err(PretrainedError::VocabularyMismatch {
            tokenizer: tokenizer.vocab_size(),
            model: config.num_tokens,
        }),
    }
}

/// Writes a model folder, all or nothing: whatever was at `path` before is replaced only once the
/// new folder is complete and on disk.
///
/// # Errors
/// [`PretrainedError::Write`]; `path` is then as it was before. [`PretrainedError::Packed`] for a
/// model whose latent weights are gone.
pub fn save<B: Backend>(
    path: &Path,
    model: &BitNetTransformer<B>,
    tokenizer: &dyn Tokenizer,
    dtype: WeightDtype,
) -> Result<(), PretrainedError> {
    if model.is_packed() {
        return Err(PretrainedError::Packed);
    }
    let weights = weights::to_safetensors(model, dtype)?;
    let config = config::to_json(model.config(), dtype);
    storage::write_folder(path, |folder| {
        fs::write(folder.join(CONFIG), config)?;
        fs::write(folder.join(WEIGHTS), weights)?;
        fs::write(folder.join(TOKENIZER), tokenizer.to_json())
    })
    .map_err(|error| PretrainedError::Write { path: path.into(), error })
}
