use std::{fs, path::Path};

use super::{
    CONFIG, EXPORTED_FOLDER, MAX_CONFIG, PretrainedError, Settings, TOKENIZER, WeightDtype,
    check_vocabulary,
    config::{self, Form},
    settings_files,
};
use crate::{
    engine::Engine,
    formats::read_text,
    generate::{GenerateError, Generation, GenerationConfig, Prompt},
    storage::Output,
    tokenizer::{self, Tokenizer},
};

/// The weights in a packed model's folder.
pub(super) const WEIGHTS: &str = "model.packed";

/// A model with packed weights, and its tokenizer.
pub struct Packed {
    /// The model.
    pub engine: Engine,
    /// The tokenizer it was trained with.
    pub tokenizer: Box<dyn Tokenizer>,
    /// How it is to be used.
    pub settings: Settings,
}

impl Packed {
    /// Whether the folder `path` holds a packed model.
    pub fn is_at(path: &Path) -> bool {
        path.join(WEIGHTS).exists()
    }

    /// Reads the folder of a packed model. Its weights are mapped into memory as they are on disk.
    ///
    /// # Errors
    /// [`PretrainedError`] if a file is missing, damaged, or does not fit the others.
    pub fn load(path: &Path) -> Result<Self, PretrainedError> {
        let json = read_text(&path.join(CONFIG), MAX_CONFIG)?;
        let (config, _) = config::from_json(&json, &["bitnet"])?;
        let tokenizer = tokenizer::load(&path.join(TOKENIZER))?;
        check_vocabulary(tokenizer.as_ref(), &config)?;
        let settings = settings_files::read(path, &json, tokenizer.as_ref())?;
        Ok(Self { engine: Engine::map(&path.join(WEIGHTS), &config)?, tokenizer, settings })
    }

    /// Writes a folder with `config.json`, `model.packed` and `tokenizer.json`, and where the model
    /// has settings with `generation_config.json` and `tokenizer_config.json`, all or nothing: an
    /// [`EXPORTED_FOLDER`] is replaced, only once the new one is complete and on disk.
    ///
    /// # Errors
    /// [`PretrainedError::Write`]; what was there is then as it was before.
    pub fn save(&self, to: impl Into<Output>) -> Result<(), PretrainedError> {
        let to = to.into();
        let config = config::to_json(self.engine.config(), WeightDtype::F32, Form::Latent);
        to.write_folder(&EXPORTED_FOLDER, |folder| {
            fs::write(folder.join(CONFIG), config)?;
            self.engine.write(&folder.join(WEIGHTS))?;
            let tokenizer = self.tokenizer.as_ref();
            if self.settings == Settings::default() {
                return fs::write(folder.join(TOKENIZER), tokenizer.to_json());
            }
            settings_files::write(
                folder,
                &self.settings,
                tokenizer,
                self.engine.config().max_seq_len,
            )
        })
        .map_err(|error| PretrainedError::Write { path: to.path().into(), error })
    }

    /// As [`Pretrained::generate`](super::Pretrained::generate).
    ///
    /// # Errors
    /// As there.
    pub fn generate<'p>(
        &self,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<String, GenerateError> {
        self.stream(prompt, config)?.collect()
    }

    /// As [`Pretrained::stream`](super::Pretrained::stream).
    ///
    /// # Errors
    /// As there.
    pub fn stream<'p>(
        &self,
        prompt: impl Into<Prompt<'p>>,
        config: &GenerationConfig,
    ) -> Result<Generation<'_>, GenerateError> {
        let tokenizer = self.tokenizer.as_ref();
        let prompt = self.settings.begun(prompt.into(), tokenizer)?;
        let config = self.settings.ended(config);
        Generation::packed(&self.engine, tokenizer, prompt, &config)
    }
}
