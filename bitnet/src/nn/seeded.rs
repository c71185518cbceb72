use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Tensor, TensorData, backend::Backend},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::{BitNetTransformer, BitNetTransformerConfig, ModelError};

impl BitNetTransformerConfig {
    /// As [`init`](Self::init), with weights that depend on the seed alone: the same on every
    /// backend and device, whatever else draws random numbers.
    ///
    /// # Errors
    /// [`ModelError::InvalidConfig`] as [`validate`](Self::validate).
    pub fn init_seeded<B: Backend>(
        &self,
        seed: u64,
        device: &B::Device,
    ) -> Result<BitNetTransformer<B>, ModelError> {
        let normal = Normal::new(0.0, self.init_std as f32)
            .map_err(|error| ModelError::InvalidConfig(format!("init_std: {error}")))?;
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Ok(self.init(device)?.map(&mut Randomize { rng, normal, device }))
    }
}

/// Fills matrices with normal random numbers; gains and biases keep their ones and zeros.
struct Randomize<'a, B: Backend> {
    rng: ChaCha8Rng,
    normal: Normal<f32>,
    device: &'a B::Device,
}

impl<B: Backend> ModuleMapper<B> for Randomize<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if D < 2 {
            return param;
        }
        let shape = param.lazy_shape().dims::<D>();
        let count = shape.iter().product();
        let values: Vec<f32> = (&self.normal).sample_iter(&mut self.rng).take(count).collect();
        let value = Tensor::from_data(TensorData::new(values, shape), self.device);
        Param::initialized(param.id, value.require_grad())
    }
}
