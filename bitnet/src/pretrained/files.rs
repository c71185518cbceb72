//! The files of a model folder.

/// The configuration.
pub(super) const CONFIG: &str = "config.json";
/// Largest `config.json`.
pub(super) const MAX_CONFIG: u64 = 1 << 20;
/// The weights, if they are in one file.
pub(super) const WEIGHTS: &str = "model.safetensors";
/// The index of the weights, if they are in several.
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// The weights of a packed model.
pub(super) const PACKED_WEIGHTS: &str = "model.packed";
/// How tokens are drawn, and which of them end a text.
pub(super) const GENERATION: &str = "generation_config.json";
/// The chat template, and what stands before a text.
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// The tokenizer.
pub(super) const TOKENIZER: &str = "tokenizer.json";
