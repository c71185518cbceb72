//! The sections of the file. Units and reasons stand in the shipped configurations, too.

use std::path::PathBuf;

use bitnet::{
    BitNetTransformerConfig,
    backend::{BackendKind, DeviceChoice},
    data::DataOptions,
    generate::{GenerationConfig, Sampling},
    nn::{FeedForwardKind, NormPlacement},
    precision::Precision,
    pretrained::WeightDtype,
    quant::{ActivationQuant, WeightQuant},
};
use serde::{Deserialize, Serialize};

/// `[backend]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackendSection {
    /// `flex`, `ndarray`, `wgpu`, `tch` or `cuda`.
    pub kind: BackendKind,
    /// A device of that backend, by number or name; `train backends` lists them.
    pub device: DeviceChoice,
    /// Of the matrix products: `f32` or `bf16`.
    pub precision: Precision,
    /// Threads of an operation on the CPU. Default: one for each core.
    pub threads: Option<usize>,
    /// Whether `flex` may compute costly operations in one pass each.
    pub fused: bool,
}

impl Default for BackendSection {
    fn default() -> Self {
        Self {
            kind: BackendKind::Flex,
            device: DeviceChoice::default(),
            precision: Precision::F32,
            threads: None,
            fused: true,
        }
    }
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSection {
    /// Width of the residual stream.
    pub dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key/value heads. Default: `heads`.
    pub kv_heads: Option<usize>,
    /// Width of a head. Default: `dim / heads`.
    pub dim_head: Option<usize>,
    /// Width of the feed-forward network. Default: 4 · `dim`.
    pub ff_dim: Option<usize>,
    /// Longest sequence, in tokens; also the length of the training windows.
    pub context: usize,
    /// Base of the rotary embedding.
    pub rope_theta: f64,
    /// ε of every norm.
    pub norm_eps: f64,
    /// `relu2-gated`, `swiglu` or `gelu`.
    pub feed_forward: FeedForwardKind,
    /// `sub-norm` or `in-linear`.
    pub norms: NormPlacement,
    /// `ternary`, `binary`, `binary-paper` or `none` (full precision).
    pub quant: WeightQuant,
    /// `int8-per-token`, `int8-per-tensor` or `none`.
    pub activation: ActivationQuant,
    /// Input features that share a weight scale. Default: one scale a tensor.
    pub group_size: Option<usize>,
    /// Whether the output head is the embedding, transposed.
    pub tie_embeddings: bool,
    /// Whether queries and keys are normalised.
    pub qk_norm: bool,
    /// Whether linears have biases.
    pub bias: bool,
    /// Standard deviation of the initial weights.
    pub init_std: f64,
}

impl Default for ModelSection {
    fn default() -> Self {
        let model = BitNetTransformerConfig::new(256, 128, 4);
        Self {
            dim: model.dim,
            depth: model.depth,
            heads: 4,
            kv_heads: None,
            dim_head: None,
            ff_dim: None,
            context: 128,
            rope_theta: model.rope_theta,
            norm_eps: model.norm_eps,
            feed_forward: model.feed_forward,
            norms: model.norms,
            quant: model.quant,
            activation: model.activation,
            group_size: model.group_size,
            tie_embeddings: model.tie_embeddings,
            qk_norm: model.qk_norm,
            bias: model.bias,
            init_std: model.init_std,
        }
    }
}

impl ModelSection {
    pub(super) fn fill_in(&mut self) {
        self.kv_heads.get_or_insert(self.heads);
        self.dim_head.get_or_insert(self.dim / self.heads.max(1));
        self.ff_dim.get_or_insert(self.dim.saturating_mul(4));
    }

    /// The library's configuration for a vocabulary.
    pub fn transformer(&self, num_tokens: usize) -> BitNetTransformerConfig {
        let mut section = self.clone();
        section.fill_in();
        BitNetTransformerConfig {
            num_tokens,
            dim: self.dim,
            depth: self.depth,
            heads: self.heads,
            kv_heads: section.kv_heads.unwrap_or_default(),
            dim_head: section.dim_head.unwrap_or_default(),
            ff_dim: section.ff_dim.unwrap_or_default(),
            max_seq_len: self.context,
            rope_theta: self.rope_theta,
            norm_eps: self.norm_eps,
            feed_forward: self.feed_forward,
            norms: self.norms,
            quant: self.quant,
            activation: self.activation,
            group_size: self.group_size,
            tie_embeddings: self.tie_embeddings,
            qk_norm: self.qk_norm,
            bias: self.bias,
            init_std: self.init_std,
        }
    }
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// `kjv`, `enwik8`, `tinyshakespeare`, files, patterns and folders, read one after the other.
    pub sources: Vec<String>,
    /// `bytes`, or the path of a `tokenizer.json`.
    pub tokenizer: String,
    /// Field of a JSON object, or column of a Parquet file, that holds the text; dots lead into
    /// what lies within.
    pub text_field: String,
    /// Whether the bytes of files are taken that are no text.
    pub binary: bool,
    /// Rows of JSON and Parquet files that may be bad.
    pub skip_bad: u64,
    /// Most memory, in MiB, that a piece of a file takes.
    pub piece_mib: u64,
    /// Use only so many bytes of the text, from its beginning.
    pub first_bytes: Option<u64>,
    /// Share of the text, before the test part, that is kept for validation.
    pub validation: f64,
    /// Share of the text, at its end, that the run never sees.
    pub test: f64,
    /// Folder of tokens and datasets. Default: `BITNET_CACHE`, or the platform's.
    pub cache: Option<PathBuf>,
    /// Folder of the named datasets. Default: `BITNET_DATASETS`, or `datasets` in the cache.
    pub datasets: Option<PathBuf>,
    /// Address to fetch named datasets from. Default: `BITNET_MIRROR`, or their own.
    pub mirror: Option<String>,
    /// Whether nothing is fetched; also `BITNET_OFFLINE`.
    pub offline: bool,
}

/// The tokenizer that is no file.
pub const BYTES: &str = "bytes";

impl Default for DataSection {
    fn default() -> Self {
        Self {
            sources: vec!["kjv".into()],
            tokenizer: BYTES.into(),
            text_field: "text".into(),
            binary: false,
            skip_bad: 0,
            piece_mib: 256,
            first_bytes: None,
            validation: 0.1,
            test: 0.0,
            cache: None,
            datasets: None,
            mirror: None,
            offline: false,
        }
    }
}

impl DataSection {
    /// The library's options: those of the environment, where no key says otherwise.
    pub fn options(&self) -> DataOptions {
        let mut options = DataOptions::default();
        if let Some(cache) = &self.cache {
            if options.datasets.starts_with(&options.cache) {
                options.datasets = cache.join("datasets");
            }
            options.cache.clone_from(cache);
        }
        if let Some(datasets) = &self.datasets {
            options.datasets.clone_from(datasets);
        }
        DataOptions {
            text_field: self.text_field.clone(),
            binary: self.binary,
            skip_bad: self.skip_bad,
            piece_mib: self.piece_mib,
            first_bytes: self.first_bytes,
            mirror: self.mirror.clone().or(options.mirror),
            offline: self.offline || options.offline,
            ..options
        }
    }
}

/// `[eval]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvalSection {
    /// Steps between two validations.
    pub every: u64,
    /// Windows of a batch.
    pub batch: usize,
    /// Windows of each validation during training, spread evenly over the validation part and
    /// always the same; 0: all.
    pub windows: usize,
    /// Windows of the last validation, which is the run's result; 0: all.
    pub final_windows: usize,
    /// Validations in a row without a new lowest loss after which the run ends; 0: it does not.
    pub patience: u64,
}

impl Default for EvalSection {
    fn default() -> Self {
        Self { every: 250, batch: 16, windows: 0, final_windows: 0, patience: 0 }
    }
}

/// `[checkpoint]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointSection {
    /// Steps between two checkpoints; 0: only `minutes` counts.
    pub every: u64,
    /// Minutes between two checkpoints; 0: only `every` counts.
    pub minutes: f64,
    /// Number of checkpoints kept, the newest ones.
    pub keep: usize,
    /// Number of checkpoints kept beside, those of the lowest validation losses. If above 0, each
    /// new lowest loss is saved, and its model in `best/`.
    pub keep_best: usize,
    /// Checkpoints of every step that this divides are kept, too; 0: none.
    pub keep_every: u64,
    /// Type of the weights in `model/`: `f32` or `bf16`. Checkpoints are always f32.
    pub dtype: WeightDtype,
}

impl Default for CheckpointSection {
    fn default() -> Self {
        Self {
            every: 250,
            minutes: 0.0,
            keep: 2,
            keep_best: 1,
            keep_every: 0,
            dtype: WeightDtype::F32,
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// Whether the instruments of quantised layers are read at each log line.
    pub instruments: bool,
    /// Whether the speed of matrix products is measured at the start, in about a third of a
    /// second, to compare the training's with.
    pub ceiling: bool,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { instruments: true, ceiling: true }
    }
}

/// `[sample]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleSection {
    /// Text to continue.
    pub prompt: String,
    /// Tokens to generate; 0: no samples.
    pub tokens: usize,
    /// Of the validations, those after a multiple of so many steps have a sample, and the last
    /// one; 0: all.
    pub every: u64,
    /// Divides the logits; 0: greedy.
    pub temperature: f64,
    /// Keeps the most probable tokens that together reach this probability.
    pub top_p: f64,
}

impl Default for SampleSection {
    fn default() -> Self {
        Self { prompt: "\n".into(), tokens: 200, every: 0, temperature: 0.8, top_p: 0.95 }
    }
}

impl SampleSection {
    /// The library's configuration.
    pub fn generation(&self, seed: u64) -> GenerationConfig {
        GenerationConfig {
            max_tokens: self.tokens,
            sampling: Sampling {
                temperature: self.temperature,
                top_p: self.top_p,
                seed,
                ..Sampling::default()
            },
            ..GenerationConfig::default()
        }
    }
}
