//! What is written for a user, and how it is known again.

use std::{fs, io, path::Path};

use super::{
    files::{CONFIG, GENERATION, PACKED_WEIGHTS, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS},
    gguf,
};
use crate::{
    formats::{FormatError, gguf::Gguf, is_own_safetensors},
    packed::is_array_file,
    storage::{Kind, Product},
};

const NO_EXPORT: &str = "is no earlier export";
/// What a folder holds beside its weights.
const SETTINGS_FILES: [&str; 4] = [CONFIG, TOKENIZER, GENERATION, TOKENIZER_CONFIG];

/// A file that [`export`](super::export) has written.
pub const EXPORTED_FILE: Product = Product { reason: NO_EXPORT, is_one: is_file };

/// A folder that [`export`](super::export) or [`PackedModel::save`](super::PackedModel::save) has
/// written, and to which nothing was added.
pub const EXPORTED_FOLDER: Product = Product { reason: NO_EXPORT, is_one: is_folder };

fn is_file(path: &Path) -> io::Result<bool> {
    match Gguf::open(path) {
        Ok(file) => Ok(gguf::is_own(&file)),
        Err(error) => unreadable(error),
    }
}

fn is_folder(path: &Path) -> io::Result<bool> {
    let mut own = false;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if Kind::at(&path)? != Some(Kind::File) {
            return Ok(false);
        }
        if name == PACKED_WEIGHTS {
            own = is_array_file(&path)?;
        } else if name == WEIGHTS {
            own = is_own_safetensors(&path).or_else(unreadable)?;
        } else if !SETTINGS_FILES.iter().any(|settings| name == *settings) {
            return Ok(false);
        }
    }
    Ok(own)
}

/// A file that is not what it should be was not written here; one that cannot be read may be.
fn unreadable(error: FormatError) -> io::Result<bool> {
    match error {
        FormatError::Read { error, .. } => Err(error),
        _ => Ok(false),
    }
}
