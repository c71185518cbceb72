use std::{fs, io, path::Path};

use super::{
    PackedModel, PretrainedError, Settings, WeightDtype,
    config::{self, Form, check_vocabulary},
    files::{CONFIG, MAX_CONFIG, PACKED_WEIGHTS, TOKENIZER},
    product::EXPORTED_FOLDER,
    settings_files,
};
use crate::{engine::Engine, formats::read_text, storage::Output, tokenizer};

impl PackedModel {
    /// Whether the folder `path` holds a packed model.
    pub fn is_at(path: &Path) -> bool {
        path.join(PACKED_WEIGHTS).exists()
    }

    /// Bytes of the weights' file in the folder `path`.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn file_bytes(path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path.join(PACKED_WEIGHTS))?.len())
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
        Ok(Self { model: Engine::map(&path.join(PACKED_WEIGHTS), &config)?, tokenizer, settings })
    }

    /// Writes a folder with `config.json`, `model.packed` and `tokenizer.json`, and where the model
    /// has settings with `generation_config.json` and `tokenizer_config.json`, all or nothing: an
    /// [`EXPORTED_FOLDER`] is replaced, only once the new one is complete and on disk.
    ///
    /// # Errors
    /// [`PretrainedError::Write`]; what was there is then as it was before.
    pub fn save(&self, to: impl Into<Output>) -> Result<(), PretrainedError> {
        let to = to.into();
        let config = config::to_json(self.model.config(), WeightDtype::F32, Form::Latent);
        to.write_folder(&EXPORTED_FOLDER, |folder| {
            fs::write(folder.join(CONFIG), config)?;
            self.model.write(&folder.join(PACKED_WEIGHTS))?;
            let tokenizer = self.tokenizer.as_ref();
            if self.settings == Settings::default() {
                return fs::write(folder.join(TOKENIZER), tokenizer.to_json());
            }
            settings_files::write(
                folder,
                &self.settings,
                tokenizer,
                self.model.config().max_seq_len,
            )
        })
        .map_err(|error| PretrainedError::Write { path: to.path().into(), error })
    }
}
