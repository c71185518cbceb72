use std::{
    fs, io,
    path::{Path, PathBuf},
};

use burn::tensor::backend::Backend;

use super::{
    PretrainedError, WeightDtype,
    config::{self, Form},
    files::{CONFIG, TOKENIZER, WEIGHTS},
    weights,
};
use crate::{nn::BitNetTransformer, storage, tokenizer::Tokenizer};

/// Writes a model folder, all or nothing: whatever was at `path` before is replaced only once the
/// new folder is complete and on disk. A folder with other files than a model's is set aside, and
/// where it is now is returned.
///
/// # Errors
/// [`PretrainedError::Write`]; `path` is then as it was before. [`PretrainedError::Packed`] for a
/// model whose latent weights are gone.
pub fn save<B: Backend>(
    path: &Path,
    model: &BitNetTransformer<B>,
    tokenizer: &dyn Tokenizer,
    dtype: WeightDtype,
) -> Result<Option<PathBuf>, PretrainedError> {
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
