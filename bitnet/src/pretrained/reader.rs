use std::{collections::HashSet, path::Path};

use super::{
    PackedModel, PretrainedError, Settings,
    config::{self, ScaleMeaning, check_vocabulary},
    files::{CONFIG, INDEX, MAX_CONFIG, TOKENIZER, WEIGHTS},
    gguf,
    place::Place,
    settings_files,
    ternary_rows::TernaryRows,
};
use crate::{
    formats::{Encoding, FormatError, Store, TensorView, gguf::Gguf, read_text},
    nn::{BitNetTransformerConfig, schema::TensorId},
    quant::WeightQuant,
    tokenizer::{self, Tokenizer},
};

/// A model in files: its configuration and tokenizer, read, and its weights, left where they are.
///
/// A folder with `config.json`, `tokenizer.json` and `model.safetensors` or the shards that
/// `model.safetensors.index.json` names, with latent weights or packed ones; or a `.gguf` file.
pub struct CheckpointReader {
    pub(super) config: BitNetTransformerConfig,
    pub(super) tokenizer: Box<dyn Tokenizer>,
    pub(super) settings: Settings,
    pub(super) store: Store,
    /// Whether linears are what is multiplied by, not what is to be quantised.
    effective: bool,
    scales: ScaleMeaning,
    /// Norms before output and down projections that are not in the files have gains of one.
    pub(super) insert_sub_norms: bool,
}

impl CheckpointReader {
    /// Opens the model `path`.
    ///
    /// # Errors
    /// [`PretrainedError`] if a file is missing, damaged, or does not fit the others, and
    /// [`PretrainedError::Packed`] for the folder of a [`PackedModel`].
    pub fn open(path: &Path) -> Result<Self, PretrainedError> {
        let stored = Self::open_any(path, &["bitnet"])?;
        check_vocabulary(stored.tokenizer(), &stored.config)?;
        stored.check()?;
        Ok(stored)
    }

    /// Opens a folder of one of some `model_type`s, or a GGUF file, whose tensors are not yet
    /// compared with its configuration.
    pub(super) fn open_any(path: &Path, model_types: &[&str]) -> Result<Self, PretrainedError> {
        match Place::of(path)? {
            Place::Gguf => Self::open_gguf(path),
            Place::Folder => Self::open_folder(path, model_types),
        }
    }

    fn open_folder(path: &Path, model_types: &[&str]) -> Result<Self, PretrainedError> {
        if PackedModel::is_at(path) {
            return Err(PretrainedError::Packed);
        }
        let text = read_text(&path.join(CONFIG), MAX_CONFIG)?;
        let (config, scales) = config::from_json(&text, model_types)?;
        let mut store = match path.join(INDEX) {
            index if index.exists() && !path.join(WEIGHTS).exists() => Store::sharded(&index)?,
            _ => Store::safetensors(&path.join(WEIGHTS))?,
        };
        let tokenizer = tokenizer::load(&path.join(TOKENIZER))?;
        let settings = settings_files::read(path, &text, tokenizer.as_ref())?;
        for tensor in TensorId::linears(&config) {
            store.unstride(&tensor.hf_name());
        }
        Ok(Self {
            config,
            tokenizer,
            settings,
            store,
            effective: false,
            scales,
            insert_sub_norms: false,
        })
    }

    fn open_gguf(path: &Path) -> Result<Self, PretrainedError> {
        let file = Gguf::open(path)?;
        let config = gguf::config(&file)?;
        let tokenizer = gguf::tokenizer(&file)?;
        let settings = gguf::settings(&file, tokenizer.as_ref());
        let store = gguf::renamed(file.store)?;
        Ok(Self {
            config,
            tokenizer,
            settings,
            store,
            effective: true,
            scales: ScaleMeaning::Multiply,
            insert_sub_norms: false,
        })
    }

    /// Checks that the files hold exactly the tensors of the configuration, in their shapes.
    pub(super) fn check(&self) -> Result<(), PretrainedError> {
        let mut expected = 0;
        for id in TensorId::all(&self.config) {
            let Some(tensor) = self.find(id) else {
                if self.is_inserted(id) {
                    continue;
                }
                return Err(PretrainedError::MissingTensor(id.hf_name()));
            };
            let shape = id.shape(&self.config);
            if tensor.shape() != shape {
                let (name, actual) = (id.hf_name(), tensor.shape().to_vec());
                return Err(PretrainedError::ShapeMismatch { name, actual, expected: shape });
            }
            expected += 1 + usize::from(self.scale(id).is_some());
        }
        if self.store.names().count() == expected {
            return Ok(());
        }
        // Something is too much: which one?
        let known: HashSet<String> = TensorId::all(&self.config)
            .flat_map(|id| [Some(id), id.scale()])
            .flatten()
            .map(TensorId::hf_name)
            .collect();
        match self.store.names().find(|name| !known.contains(*name)) {
            Some(name) => Err(PretrainedError::UnexpectedTensor(name.into())),
            None => Ok(()),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &BitNetTransformerConfig {
        &self.config
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &dyn Tokenizer {
        self.tokenizer.as_ref()
    }

    /// How the model is to be used.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Bytes of the files with weights.
    pub fn file_bytes(&self) -> usize {
        self.store.file_bytes()
    }

    /// Checks that all numbers are finite which [`layers`](Self::layers) does not look at.
    ///
    /// # Errors
    /// [`PretrainedError::Format`] naming the first tensor that is damaged.
    pub fn check_floats(&self) -> Result<(), PretrainedError> {
        for id in TensorId::all(&self.config).filter(|&id| !self.is_inserted(id)) {
            let is_quantized = self.config.quant != WeightQuant::None || self.is_ternary(id)?;
            if !id.is_linear() || !is_quantized {
                let tensor = self.tensor(id)?;
                tensor.check_floats(f32::is_finite)?;
                tensor.release();
            }
        }
        Ok(())
    }

    /// The quantised linears with their names, in the order of the forward pass; none in full
    /// precision.
    ///
    /// # Errors
    /// [`PretrainedError`] if a tensor is damaged.
    pub fn layers(&self) -> impl Iterator<Item = Result<CheckpointLayer, PretrainedError>> {
        TensorId::linears(&self.config).filter_map(|id| self.layer(id).transpose())
    }

    fn layer(&self, id: TensorId) -> Result<Option<CheckpointLayer>, PretrainedError> {
        let Some(rows) = self.ternary(id)? else { return Ok(None) };
        let name = id.hf_name();
        let name = name.strip_prefix("model.").unwrap_or(&name);
        let layer = CheckpointLayer {
            name: name.strip_suffix(".weight").unwrap_or(name).into(),
            inputs: rows.inputs(),
            outputs: rows.outputs(),
            zeros: rows.zeros(),
            scales: rows.scales().to_vec(),
            encoding: rows.tensor().encoding(),
        };
        rows.tensor().release();
        Ok(Some(layer))
    }

    /// Whether these are the gains of a norm that is to be inserted.
    pub(super) fn is_inserted(&self, id: TensorId) -> bool {
        let is_sub_norm = matches!(id, TensorId::Norm { role, .. } if role.is_sub_norm());
        self.insert_sub_norms && is_sub_norm && self.find(id).is_none()
    }

    /// A tensor, if the files have it.
    fn find(&self, id: TensorId) -> Option<TensorView<'_>> {
        self.store.tensor(&id.hf_name())
    }

    /// The scale beside the codes of a linear, if the files have it.
    fn scale(&self, id: TensorId) -> Option<TensorView<'_>> {
        self.find(id.scale()?)
    }

    /// A tensor.
    pub(super) fn tensor(&self, id: TensorId) -> Result<TensorView<'_>, PretrainedError> {
        self.find(id).ok_or_else(|| PretrainedError::MissingTensor(id.hf_name()))
    }

    /// All values of a tensor of floats.
    pub(super) fn floats(&self, id: TensorId) -> Result<Vec<f32>, PretrainedError> {
        Ok(self.tensor(id)?.floats()?)
    }

    /// Whether the weight of a linear is kept as codes and a scale.
    pub(super) fn is_ternary(&self, id: TensorId) -> Result<bool, PretrainedError> {
        let tensor = self.tensor(id)?;
        Ok(self.effective || tensor.encoding().is_ternary() || self.scale(id).is_some())
    }

    /// The weight of a linear as codes and scales; `None` in full precision.
    pub(super) fn ternary(&self, id: TensorId) -> Result<Option<TernaryRows<'_>>, PretrainedError> {
        let tensor = self.tensor(id)?;
        if self.is_ternary(id)? {
            if self.config.group_size.is_some() {
                let reason = "codes of groups cannot be read".into();
                return Err(PretrainedError::Unsupported(reason));
            }
            return Ok(Some(TernaryRows::stored(tensor, self.factor(id)?)?));
        }
        Ok(TernaryRows::latent(tensor, self.config.quant, self.config.group_size)?)
    }

    /// What the codes of a linear are multiplied by besides.
    fn factor(&self, id: TensorId) -> Result<Option<f32>, PretrainedError> {
        let Some(tensor) = self.scale(id) else { return Ok(None) };
        let values = match tensor.shape().iter().product() {
            1usize => tensor.floats()?,
            _ => return Err(FormatError::tensor(tensor.name(), "is no single scale").into()),
        };
        Ok(values.first().map(|&scale| match self.scales {
            ScaleMeaning::Multiply => scale,
            ScaleMeaning::Divide => scale.recip(),
        }))
    }
}

/// What is known of a quantised linear.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointLayer {
    /// Its name, that of its weight without `model.` and `.weight`.
    pub name: String,
    /// Input features.
    pub inputs: usize,
    /// Output features.
    pub outputs: usize,
    /// Weights whose code is zero.
    pub zeros: usize,
    /// All scales.
    pub scales: Vec<f32>,
    /// How its weight is stored.
    pub encoding: Encoding,
}

impl CheckpointLayer {
    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.inputs * self.outputs
    }

    /// Share of weights whose code is zero.
    pub fn zero_fraction(&self) -> f64 {
        self.zeros as f64 / self.weights() as f64
    }

    /// Mean of the scales.
    pub fn mean_scale(&self) -> f64 {
        self.scales.iter().map(|&scale| f64::from(scale)).sum::<f64>() / self.scales.len() as f64
    }

    /// Bytes where each weight takes 2 bits and each scale an f32.
    pub fn packed_bytes(&self) -> usize {
        self.weights().div_ceil(4) + 4 * self.scales.len()
    }
}
