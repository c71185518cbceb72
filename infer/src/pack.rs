//! Models with packed weights.

use std::path::Path;

use bitnet::{
    engine::CacheFormat,
    packed::TableFormat,
    pretrained::{CheckpointReader, PackedModel},
    progress::Progress,
};

use crate::error::LoadError;

/// The formats in which a packed model holds its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackOptions {
    /// Of embedding and output head; `None`: int8, or what a packed model has.
    pub head: Option<TableFormat>,
    /// Of keys and values.
    pub cache: CacheFormat,
}

impl PackOptions {
    /// The format of embedding and output head, where nothing is packed yet.
    pub fn tables(self) -> TableFormat {
        self.head.unwrap_or(TableFormat::Int8)
    }
}

/// Packs a model that was opened at `path`.
///
/// # Errors
/// [`LoadError::Model`] if it cannot be packed.
pub fn pack(
    stored: CheckpointReader,
    path: &Path,
    options: PackOptions,
    progress: &dyn Progress,
) -> Result<PackedModel, LoadError> {
    let packed = stored.pack(options.tables(), progress).map_err(LoadError::of(path))?;
    Ok(with_cache(packed, options.cache))
}

/// Loads any model, and packs it if it is not packed.
///
/// # Errors
/// [`LoadError::Model`], or [`LoadError::OtherHead`] if it is packed with another head than
/// `options` ask for.
pub fn load_packed(
    path: &Path,
    options: PackOptions,
    progress: &dyn Progress,
) -> Result<PackedModel, LoadError> {
    if !PackedModel::is_at(path) {
        return pack(
            CheckpointReader::open(path).map_err(LoadError::of(path))?,
            path,
            options,
            progress,
        );
    }
    let packed = PackedModel::load(path).map_err(LoadError::of(path))?;
    let actual = packed.model.table_format();
    match options.head.is_none_or(|head| head == actual) {
        true => Ok(with_cache(packed, options.cache)),
        false => Err(LoadError::OtherHead { path: path.into(), actual }),
    }
}

fn with_cache(packed: PackedModel, format: CacheFormat) -> PackedModel {
    PackedModel { model: packed.model.with_cache_format(format), ..packed }
}
