//! A model on disk: a folder with `config.json`, `model.safetensors` and `tokenizer.json` in the
//! layout of the Hugging Face BitNet checkpoints, or a GGUF file. [`CheckpointReader`] opens it, as
//! it is or packed; [`export`] writes it for other programs.
//!
//! ```no_run
//! use bitnet::{generate::GenerationConfig, pretrained::FloatModel};
//! # type B = burn_flex::Flex;
//!
//! let model = FloatModel::<B>::load("runs/quickstart/model".as_ref(), &Default::default())?;
//! let text = model.generate("In the beginning", &GenerationConfig::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod dtype;
mod error;
mod export;
mod files;
mod float_model;
mod gguf;
mod initial;
mod names;
mod pack;
mod packed_model;
mod place;
mod product;
mod reader;
mod save;
mod settings;
mod settings_files;
mod ternary_rows;
mod text_model;
mod weights;

pub use dtype::WeightDtype;
pub use error::PretrainedError;
pub use export::{ExportFormat, Exported, export};
pub use initial::initial;
pub use product::{EXPORTED_FILE, EXPORTED_FOLDER};
pub use reader::{CheckpointLayer, CheckpointReader};
pub use save::save;
pub use settings::{GenerationDefaults, Settings};
pub use text_model::{FloatModel, PackedModel, TextModel};
