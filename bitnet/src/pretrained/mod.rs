//! A model on disk: a folder with `config.json`, `model.safetensors` and `tokenizer.json` in the
//! layout of the Hugging Face BitNet checkpoints, or a GGUF file. [`Stored`] opens it, as it is or
//! packed; [`export`] writes it for other programs.
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
mod export;
mod gguf;
mod initial;
mod layout;
mod names;
mod pack;
mod packed;
mod place;
mod product;
mod settings;
mod settings_files;
mod stored;
mod ternary_rows;
mod weights;

use std::{fs, io, path::Path};

use burn::tensor::backend::Backend;

pub use error::PretrainedError;
pub use export::{ExportFormat, Exported, export};
pub use initial::initial;
pub use packed::Packed;
pub use product::{EXPORTED_FILE, EXPORTED_FOLDER};
pub use settings::{GenerationDefaults, Settings};
pub use stored::{Stored, StoredLayer};
pub use weights::WeightDtype;

use crate::{
    engine::{Engine, EngineError},
    generate::{GenerateError, Generation, GenerationConfig, Prompt},
    model::{BitNetTransformer, BitNetTransformerConfig},
    packed::TableFormat,
    storage,
    tokenizer::Tokenizer,
};
use config::Form;

const CONFIG: &str = "config.json";
/// Largest `config.json`.
const MAX_CONFIG: u64 = 1 << 20;
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const GENERATION: &str = "generation_config.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const TOKENIZER: &str = "tokenizer.json";

/// A model and its tokenizer.
pub struct Pretrained<B: Backend> {
    /// The model.
    pub model: BitNetTransformer<B>,
    /// The tokenizer it was trained with.
    pub tokenizer: Box<dyn Tokenizer>,
    /// How it is to be used.
    pub settings: Settings,
    device: B::Device,
}

impl<B: Backend> Pretrained<B> {
    /// Reads the model `path`, of any form that [`Stored`] opens.
    ///
    /// # Errors
    /// [`PretrainedError`] if a file is missing, damaged, or does not fit the others, and
    /// [`PretrainedError::Packed`] for the folder of a [`Packed`] model.
    pub fn load(path: &Path, device: &B::Device) -> Result<Self, PretrainedError> {
        Stored::open(path)?.load(device)
    }

    /// Continues `prompt`; gives the new text alone. A text is read behind what the model's
    /// [`Settings`] put before one, and their tokens end the generation too.
    ///
    /// # Errors
    /// [`GenerateError`] for an unusable prompt or sampling parameter.
    pub fn generate<'p>(
        &self,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<String, GenerateError> {
        self.stream(prompt, config)?.collect()
    }

    /// As [`generate`](Self::generate), piece by piece as the text is made.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn stream<'p>(
        &self,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<Generation<'_>, GenerateError> {
        let tokenizer = self.tokenizer.as_ref();
        let prompt = self.settings.begun(prompt.into(), tokenizer)?;
        let config = self.settings.ended(config);
        Generation::new(&self.model, tokenizer, &self.device, prompt, &config)
    }

    /// The same with packed weights, for the CPU. Embedding and output head are held in `tables`.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] if its quantisers are not those of packed weights.
    pub fn pack(self, tables: TableFormat) -> Result<Packed, EngineError> {
        let engine = Engine::new(&self.model, tables)?;
        Ok(Packed { engine, tokenizer: self.tokenizer, settings: self.settings })
    }

    /// The device the model is on.
    pub fn device(&self) -> &B::Device {
        &self.device
    }
}

/// Whether a tokenizer is that of a model, as far as numbers tell.
fn check_vocabulary(
    tokenizer: &dyn Tokenizer,
    config: &BitNetTransformerConfig,
) -> Result<(), PretrainedError> {
    match (tokenizer.vocab_size(), config.num_tokens) {
        (tokenizer, model) if tokenizer == model => Ok(()),
        (tokenizer, model) => Err(PretrainedError::VocabularyMismatch { tokenizer, model }),
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
    let write = |error| PretrainedError::Write { path: path.into(), error };
    let weights =
        weights::to_safetensors(model, dtype).map_err(|error| write(io::Error::other(error)))?;
    let config = config::to_json(model.config(), dtype, Form::Latent);
    storage::write_folder(path, |folder| {
        fs::write(folder.join(CONFIG), config)?;
        fs::write(folder.join(WEIGHTS), weights)?;
        fs::write(folder.join(TOKENIZER), tokenizer.to_json())
    })
    .map_err(write)
}
