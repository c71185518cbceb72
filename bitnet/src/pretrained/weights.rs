use std::collections::{BTreeMap, HashMap};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Tensor, TensorData, backend::Backend},
};
use half::bf16;
use safetensors::{Dtype, SafeTensorError, tensor::TensorView};

use super::{FloatModel, PretrainedError, WeightDtype, names::Walk, reader::CheckpointReader};
use crate::nn::BitNetTransformer;

/// The latent weights of `model` as the bytes of a safetensors file.
pub(super) fn to_safetensors<B: Backend>(
    model: &BitNetTransformer<B>,
    dtype: WeightDtype,
) -> Result<Vec<u8>, SafeTensorError> {
    let mut writer = Writer { walk: Walk::default(), dtype, tensors: BTreeMap::new() };
    model.visit(&mut writer);
    let stored = match dtype {
        WeightDtype::F32 => Dtype::F32,
        WeightDtype::Bf16 => Dtype::BF16,
    };
    let views: Vec<(&String, TensorView)> = writer
        .tensors
        .iter()
        .map(|(name, (shape, bytes))| Ok((name, TensorView::new(stored, shape.clone(), bytes)?)))
        .collect::<Result<_, SafeTensorError>>()?;
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize(views, Some(metadata))
}

struct Writer {
    walk: Walk,
    dtype: WeightDtype,
    tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
}

impl<B: Backend> ModuleVisitor<B> for Writer {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.walk.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.walk.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let (tensor, value) = (self.walk.tensor(), param.val());
        let value = if tensor.is_transposed() { value.transpose() } else { value };
        let shape = value.dims().to_vec();
        let values = value.into_data();
        let values = values.iter::<f32>();
        let bytes = match self.dtype {
            WeightDtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
            WeightDtype::Bf16 => values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
        };
        self.tensors.insert(tensor.hf_name(), (shape, bytes));
    }
}

impl CheckpointReader {
    /// Reads the whole model, with latent weights: where files hold codes, with such as have these
    /// codes and scales.
    ///
    /// # Errors
    /// [`PretrainedError`] if a tensor is damaged.
    pub fn load<B: Backend>(self, device: &B::Device) -> Result<FloatModel<B>, PretrainedError> {
        let model = model(&self, device)?;
        Ok(FloatModel { model, tokenizer: self.tokenizer, settings: self.settings })
    }
}

/// Builds a model with the weights of files, which are known to hold exactly its tensors, in their
/// shapes.
fn model<B: Backend>(
    stored: &CheckpointReader,
    device: &B::Device,
) -> Result<BitNetTransformer<B>, PretrainedError> {
    let model = stored.config.init::<B>(device)?;
    let mut reader = Reader { walk: Walk::default(), stored, device, error: None };
    let model = model.map(&mut reader);
    match reader.error {
        Some(error) => Err(error),
        None => Ok(model),
    }
}

struct Reader<'a, B: Backend> {
    walk: Walk,
    stored: &'a CheckpointReader,
    device: &'a B::Device,
    error: Option<PretrainedError>,
}

impl<B: Backend> Reader<'_, B> {
    fn read<const D: usize>(
        &mut self,
        param: &Param<Tensor<B, D>>,
    ) -> Result<Tensor<B, D>, PretrainedError> {
        let id = self.walk.tensor();
        if self.stored.is_inserted(id) {
            return Ok(Tensor::ones(param.lazy_shape(), self.device));
        }
        let tensor = self.stored.tensor(id)?;
        let values = match id.is_linear() && self.stored.is_ternary(id)? {
            true => match self.stored.ternary(id)? {
                Some(rows) => rows.to_latent()?,
                None => return Err(PretrainedError::MissingTensor(id.hf_name())),
            },
            false => tensor.floats()?,
        };
        tensor.release();
        let data = TensorData::new(values, tensor.shape().to_vec());
        let value = Tensor::<B, D>::from_data(data, self.device);
        Ok(if id.is_transposed() { contiguous(value.transpose()) } else { value })
    }
}

/// Copies a transposed view into row-major order, once instead of at every use.
fn contiguous<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, D> {
    let device = tensor.device();
    Tensor::from_data(tensor.into_data(), &device)
}

impl<B: Backend> ModuleMapper<B> for Reader<'_, B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.walk.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.walk.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if self.error.is_some() {
            return param;
        }
        match self.read(&param) {
            Ok(value) => Param::initialized(param.id, value.require_grad()),
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}
