//! The sections of the file but for those of the training. Reasons stand in `quickstart.toml`.

use std::path::PathBuf;

use anyhow::anyhow;
use bitnet::{
    BitNetTransformerConfig, ModelError,
    backend::{BackendError, BackendKind, BackendVisitor, DeviceChoice},
    data::DataOptions,
    generate::{GenerationConfig, Sampling},
    nn::{FeedForwardKind, NormPlacement},
    ops::Implementation,
    precision::Precision,
    pretrained::WeightDtype,
    quant::{ActivationQuant, WeightQuant},
};

use super::key::{Key, Section, above, above_to, not_empty, section, within};

section! {
    /// `[backend]`
    pub struct BackendSection in "backend" {
        /// `flex`, `ndarray`, `wgpu`, `tch` or `cuda`.
        kind: BackendKind = BackendKind::Flex, Safe;
        /// A device of that backend, by number or name; `train backends` lists them.
        device: DeviceChoice = DeviceChoice::default(), Safe;
        /// Of the matrix products: `f32` or `bf16`.
        precision: Precision = Precision::F32, Safe;
        /// Threads of an operation on the CPU. Default: one for each core.
        threads: Option<usize> = None, Safe;
        /// Whether `flex` and `cuda` compute costly operations in one pass each.
        fused: bool = true, Safe;
    }
}

impl BackendSection {
    /// What computes the operations of the model.
    pub fn implementation(&self) -> Implementation {
        match self.fused {
            true => Implementation::Fused,
            false => Implementation::Composed,
        }
    }

    /// Has `visitor` work on the device, by that implementation.
    ///
    /// # Errors
    /// If backend or device is not there.
    pub fn visit<V: BackendVisitor>(&self, visitor: V) -> Result<V::Output, BackendError> {
        self.implementation().scope(|| self.kind.visit(&self.device, visitor))
    }
}

section! {
    /// `[model]`
    pub struct ModelSection in "model" {
        /// Width of the residual stream.
        dim: usize = library().dim, Shape;
        /// Number of blocks.
        depth: usize = library().depth, Shape;
        /// Number of query heads.
        heads: usize = 4, Shape;
        /// Number of key/value heads. Default: `heads`.
        kv_heads: Option<usize> = None, Shape;
        /// Width of a head. Default: `dim / heads`.
        dim_head: Option<usize> = None, Shape;
        /// Width of the feed-forward network. Default: 4 · `dim`.
        ff_dim: Option<usize> = None, Shape;
        /// Longest sequence, in tokens; also the length of the training windows.
        context: usize = 128, Experiment;
        /// Base of the rotary embedding.
        rope_theta: f64 = library().rope_theta, Experiment, above(0.0);
        /// ε of every norm.
        norm_eps: f64 = library().norm_eps, Experiment, above(0.0);
        /// `relu2-gated`, `swiglu` or `gelu`.
        feed_forward: FeedForwardKind = library().feed_forward, Shape;
        /// `sub-norm` or `in-linear`.
        norms: NormPlacement = library().norms, Shape;
        /// `ternary`, `binary`, `binary-paper` or `none` (full precision).
        quant: WeightQuant = library().quant, Experiment;
        /// `int8-per-token`, `int8-per-tensor` or `none`.
        activation: ActivationQuant = library().activation, Experiment;
        /// Input features that share a weight scale. Default: one scale per tensor.
        group_size: Option<usize> = library().group_size, Experiment;
        /// Whether the output head is the embedding, transposed.
        tie_embeddings: bool = library().tie_embeddings, Shape;
        /// Whether queries and keys are normalised.
        qk_norm: bool = library().qk_norm, Shape;
        /// Whether linears have biases.
        bias: bool = library().bias, Shape;
        /// Standard deviation of the initial weights.
        init_std: f64 = library().init_std, Experiment, above(0.0);
    }
}

/// Where the library's defaults come from.
fn library() -> BitNetTransformerConfig {
    BitNetTransformerConfig::new(256, 128, 4)
}

impl ModelSection {
    pub(super) fn fill_in(&mut self) {
        self.kv_heads.get_or_insert(self.heads);
        self.dim_head.get_or_insert(self.dim / self.heads.max(1));
        self.ff_dim.get_or_insert(self.dim.saturating_mul(4));
    }

    /// Checks that the model can be built.
    ///
    /// # Errors
    /// Names the key that does not fit.
    pub(super) fn validate(&self) -> anyhow::Result<()> {
        let key = |field: &'static str| {
            let name = match field {
                "max_seq_len" => "context",
                same => same,
            };
            let is_its = |key: &&Key| key.name.strip_prefix("model.") == Some(name);
            Self::KEYS.iter().find(is_its).map_or(field, |key| key.name)
        };
        // The vocabulary is the tokenizer's; any valid size will do.
        self.transformer(256).validate_as(key).map_err(|error| match error {
            // That it is of the model is in the name of the key.
            ModelError::InvalidConfig(reason) => anyhow!(reason),
            other => other.into(),
        })
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

section! {
    /// `[data]`
    pub struct DataSection in "data" {
        /// `kjv`, `enwik8`, `tinyshakespeare`, files, patterns and folders, read one after the
        /// other.
        sources: Vec<String> = vec!["kjv".into()], Safe;
        /// `bytes`, or the path of a `tokenizer.json`.
        tokenizer: String = BYTES.into(), Safe;
        /// Field of a JSON object, or column of a Parquet file, that holds the text; dots lead into
        /// what lies within.
        text_field: String = "text".into(), Safe;
        /// Whether the bytes of files are taken that are no text.
        binary: bool = false, Safe;
        /// Rows of JSON and Parquet files that may be bad.
        skip_bad: u64 = 0, Safe;
        /// Most memory, in MiB, that a piece of a file takes.
        piece_mib: u64 = 256, Safe, within(1..);
        /// Use only so many bytes of the text, from its beginning.
        first_bytes: Option<u64> = None, Safe;
        /// Share of the text, before the test part, that is kept for validation.
        validation: f64 = 0.1, Experiment, within(0.0..=0.9);
        /// Share of the text, at its end, that the run never sees.
        test: f64 = 0.0, Experiment, within(0.0..=0.9);
        /// Folder of tokens and datasets. Default: `BITNET_CACHE`, or the platform's.
        cache: Option<PathBuf> = None, Safe, not_empty;
        /// Folder of the named datasets. Default: `BITNET_DATASETS`, or `datasets` in the cache.
        datasets: Option<PathBuf> = None, Safe, not_empty;
        /// Address to fetch named datasets from. Default: `BITNET_MIRROR`, or their own.
        mirror: Option<String> = None, Safe, not_empty;
        /// Whether nothing is fetched; also `BITNET_OFFLINE`.
        offline: bool = false, Safe;
    }
}

/// The tokenizer that is no file.
pub const BYTES: &str = "bytes";

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

section! {
    /// `[eval]`
    pub struct EvalSection in "eval" {
        /// Steps between two validations.
        every: u64 = 250, Safe, within(1..);
        /// Windows of a batch.
        batch: usize = 16, Safe, within(1..=1 << 20);
        /// Windows of each validation during training, spread evenly over the validation part and
        /// always the same; 0: all.
        windows: usize = 0, Safe;
        /// Windows of the last validation, which is the run's result; 0: all.
        final_windows: usize = 0, Safe;
        /// Validations in a row without a new lowest loss after which the run ends; 0: it does not.
        patience: u64 = 0, Safe;
    }
}

section! {
    /// `[checkpoint]`
    pub struct CheckpointSection in "checkpoint" {
        /// Steps between two checkpoints; 0: only `minutes` counts.
        every: u64 = 250, Safe;
        /// Minutes between two checkpoints; 0: only `every` counts.
        minutes: f64 = 0.0, Safe, within(0.0..=1e9);
        /// Number of checkpoints kept, the newest ones.
        keep: usize = 2, Safe, within(1..);
        /// Number of checkpoints kept beside, those of the lowest validation losses. If above 0,
        /// each new lowest loss is saved, and its model in `best/`.
        keep_best: usize = 1, Safe;
        /// Checkpoints of every step that this divides are kept, too; 0: none.
        keep_every: u64 = 0, Safe;
        /// Type of the weights in `model/`: `f32` or `bf16`. Checkpoints are always f32.
        dtype: WeightDtype = WeightDtype::F32, Safe;
    }
}

section! {
    /// `[log]`
    pub struct LogSection in "log" {
        /// Whether statistics of the quantised layers are measured at each log line.
        instruments: bool = true, Safe;
        /// Whether the speed of matrix products is measured at the start, in about a third of a
        /// second, to compare the training's with.
        ceiling: bool = true, Safe;
    }
}

section! {
    /// `[sample]`
    pub struct SampleSection in "sample" {
        /// Text to continue.
        prompt: String = "\n".into(), Safe;
        /// Tokens to generate; 0: no samples.
        tokens: usize = 200, Safe;
        /// Of the validations, those after a multiple of so many steps have a sample, and the last
        /// one; 0: all.
        every: u64 = 0, Safe;
        /// Divides the logits; 0: greedy.
        temperature: f64 = 0.8, Safe, within(0.0..1e6);
        /// Keeps the most probable tokens that together reach this probability.
        top_p: f64 = 0.95, Safe, above_to(0.0, 1.0);
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
