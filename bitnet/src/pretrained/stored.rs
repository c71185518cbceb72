use std::path::Path;

use super::{
    Packed, PretrainedError, Settings,
    config::{self, ScaleMeaning, check_vocabulary},
    files::{CONFIG, INDEX, MAX_CONFIG, TOKENIZER, WEIGHTS},
    gguf,
    layout::{self, Role, Spec},
    place::Place,
    settings_files,
    ternary_rows::TernaryRows,
};
use crate::{
    formats::{Encoding, FormatError, Store, TensorView, gguf::Gguf, read_text},
    model::BitNetTransformerConfig,
    quant::WeightQuant,
    tokenizer::{self, Tokenizer},
};

/// A model in files: its configuration and tokenizer, read, and its weights, left where they are.
///
/// A folder with `config.json`, `tokenizer.json` and `model.safetensors` or the shards that
/// `model.safetensors.index.json` names, with latent weights or packed ones; or a `.gguf` file.
pub struct Stored {
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

impl Stored {
    /// Opens the model `path`.
    ///
    /// # Errors
    /// [`PretrainedError`] if a file is missing, damaged, or does not fit the others, and
    /// [`PretrainedError::Packed`] for the folder of a [`Packed`] model.
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
        if Packed::is_at(path) {
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
        for name in layout::linear_weights(&config) {
            store.unstride(&name);
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

    /// Sees that the files hold exactly the tensors of the configuration, in their shapes.
    pub(super) fn check(&self) -> Result<(), PretrainedError> {
        let mut expected = 0;
        for Spec { name, shape, role } in layout::tensors(&self.config) {
            let Some(tensor) = self.store.tensor(&name) else {
                if self.is_inserted(&name) {
                    continue;
                }
                return Err(PretrainedError::MissingTensor(name));
            };
            if tensor.shape() != shape {
                let actual = tensor.shape().to_vec();
                return Err(PretrainedError::ShapeMismatch { name, actual, expected: shape });
            }
            expected += 1;
            if role == Role::Linear && self.store.tensor(&scale_name(&name)).is_some() {
                expected += 1;
            }
        }
        if self.store.names().count() == expected {
            return Ok(());
        }
        // Something is too much: which one?
        let known: Vec<Spec> = layout::tensors(&self.config).collect();
        let is_known = |name: &str| {
            known.iter().any(|Spec { name: spec, role, .. }| {
                spec == name || *role == Role::Linear && scale_name(spec) == name
            })
        };
        match self.store.names().find(|name| !is_known(name)) {
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

    /// Sees that all numbers are finite which [`layers`](Self::layers) does not look at.
    ///
    /// # Errors
    /// [`PretrainedError::Format`] naming the first tensor that is damaged.
    pub fn check_floats(&self) -> Result<(), PretrainedError> {
        for Spec { name, role, .. } in layout::tensors(&self.config) {
            if self.is_inserted(&name) {
                continue;
            }
            let is_quantized = self.config.quant != WeightQuant::None || self.is_ternary(&name)?;
            if role != Role::Linear || !is_quantized {
                let tensor = self.tensor(&name)?;
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
    pub fn layers(&self) -> impl Iterator<Item = Result<StoredLayer, PretrainedError>> {
        layout::linear_weights(&self.config).filter_map(|name| self.layer(&name).transpose())
    }

    fn layer(&self, name: &str) -> Result<Option<StoredLayer>, PretrainedError> {
        let Some(rows) = self.ternary(name)? else { return Ok(None) };
        let name = name.strip_prefix("model.").unwrap_or(name);
        let layer = StoredLayer {
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
    pub(super) fn is_inserted(&self, name: &str) -> bool {
        self.insert_sub_norms
            && name.ends_with("_sub_norm.weight")
            && self.store.tensor(name).is_none()
    }

    /// The tensor of a name.
    pub(super) fn tensor(&self, name: &str) -> Result<TensorView<'_>, PretrainedError> {
        self.store.tensor(name).ok_or_else(|| PretrainedError::MissingTensor(name.into()))
    }

    /// All values of a tensor of floats.
    pub(super) fn floats(&self, name: &str) -> Result<Vec<f32>, PretrainedError> {
        Ok(self.tensor(name)?.floats()?)
    }

    /// Whether the weight of a linear is kept as codes and a scale.
    pub(super) fn is_ternary(&self, name: &str) -> Result<bool, PretrainedError> {
        let tensor = self.tensor(name)?;
        let has_scale = || self.store.tensor(&scale_name(name)).is_some();
        Ok(self.effective || tensor.encoding().is_ternary() || has_scale())
    }

    /// The weight of a linear as codes and scales; `None` in full precision.
    pub(super) fn ternary(&self, name: &str) -> Result<Option<TernaryRows<'_>>, PretrainedError> {
        let tensor = self.tensor(name)?;
        if self.is_ternary(name)? {
            if self.config.group_size.is_some() {
                let reason = "codes of groups cannot be read".into();
                return Err(PretrainedError::Unsupported(reason));
            }
            return Ok(Some(TernaryRows::stored(tensor, self.factor(name)?)?));
        }
        Ok(TernaryRows::latent(tensor, self.config.quant, self.config.group_size)?)
    }

    /// What the codes of a linear are multiplied by besides.
    fn factor(&self, name: &str) -> Result<Option<f32>, PretrainedError> {
        let name = scale_name(name);
        let Some(tensor) = self.store.tensor(&name) else { return Ok(None) };
        let values = match tensor.shape().iter().product() {
            1usize => tensor.floats()?,
            _ => return Err(FormatError::tensor(&name, "is no single scale").into()),
        };
        Ok(values.first().map(|&scale| match self.scales {
            ScaleMeaning::Multiply => scale,
            ScaleMeaning::Divide => scale.recip(),
        }))
    }
}

/// What is known of a quantised linear.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLayer {
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
    /// As what its weight is stored.
    pub encoding: Encoding,
}

impl StoredLayer {
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

/// The name of the scale beside the codes of a linear.
pub(super) fn scale_name(weight: &str) -> String {
    format!("{weight}_scale")
}
