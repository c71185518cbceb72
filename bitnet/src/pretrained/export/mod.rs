//! Models for other programs.

mod error;
mod gguf;
mod hf;
mod rows;

use super::{PretrainedError, config::Form, reader::CheckpointReader};
use crate::{formats::Encoding, nn::schema::TensorId, progress::Progress, storage::Output};

/// What a model is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A folder for `transformers`: latent weights in bf16, to be trained on.
    HfBf16,
    /// A folder for `transformers`: ternary weights, four a byte.
    HfPacked,
    /// A file for llama.cpp or bitnet.cpp.
    Gguf {
        /// As what ternary weights are stored: any but those of Hugging Face.
        linears: Encoding,
        /// As what the embedding is stored: a type of floats. `None`: as it is.
        embedding: Option<Encoding>,
    },
}

/// What came of an export, read back from the disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exported {
    /// Bytes of the weights' file.
    pub bytes: usize,
    /// Quantised weights.
    pub weights: usize,
    /// Of these, such as have another code than before: none, but with latent weights of bf16.
    pub changed: usize,
    /// Largest relative change of a scale.
    pub scale_change: f32,
}

/// Writes a model for other programs, all or nothing, and reads it back. An
/// [`EXPORTED_FILE`](super::EXPORTED_FILE) or [`EXPORTED_FOLDER`](super::EXPORTED_FOLDER) that is
/// there is replaced.
///
/// # Errors
/// [`PretrainedError::NotExportable`] if those programs do not compute what the model does,
/// [`PretrainedError::Write`] if it cannot be written, others if the model is damaged. What was
/// there is then as it was, unless reading back fails.
pub fn export(
    stored: &CheckpointReader,
    format: ExportFormat,
    to: impl Into<Output>,
    progress: &dyn Progress,
) -> Result<Exported, PretrainedError> {
    let to = &to.into();
    progress.start("writing", stored.store.bytes() as u64);
    let written = match format {
        ExportFormat::HfBf16 => hf::write(stored, to, progress, Form::Latent),
        ExportFormat::HfPacked => hf::write(stored, to, progress, Form::Packed),
        ExportFormat::Gguf { linears, embedding } => {
            gguf::write(stored, to, progress, linears, embedding)
        }
    };
    progress.finish();
    written.map_err(|error| error.at(to))?;
    compare(stored, &CheckpointReader::open(to.path())?, progress)
}

/// How far a model is from what it was exported from.
fn compare(
    stored: &CheckpointReader,
    exported: &CheckpointReader,
    progress: &dyn Progress,
) -> Result<Exported, PretrainedError> {
    progress.start("reading back", exported.store.bytes() as u64);
    let mut result =
        Exported { bytes: exported.file_bytes(), weights: 0, changed: 0, scale_change: 0.0 };
    for id in TensorId::linears(&stored.config) {
        let (Some(before), Some(after)) = (stored.ternary(id)?, exported.ternary(id)?) else {
            continue;
        };
        result.weights += before.inputs() * before.outputs();
        result.changed += rows::differing(&before, &after);
        for (before, after) in before.scales().iter().zip(after.scales()) {
            result.scale_change = result.scale_change.max(((after - before) / before).abs());
        }
        before.tensor().release();
        after.tensor().release();
        progress.advance(after.tensor().bytes().len() as u64);
    }
    progress.finish();
    Ok(result)
}
