use burn::{
    module::{AutodiffModule, ParamId},
    optim::{GradientsParams, MultiGradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    tensor::backend::{AutodiffBackend, Backend},
};

use super::{AdamW, AdamWConfig, Muon, MuonConfig};
use crate::nn::BitLinear;

/// [`Muon`] on some matrices of a module, [`AdamW`] on every other parameter.
#[derive(Clone)]
pub struct MuonAdamW<M: AutodiffModule<B>, B: AutodiffBackend> {
    matrices: Vec<ParamId>,
    muon: OptimizerAdaptor<Muon<B::InnerBackend>, M, B>,
    adamw: OptimizerAdaptor<AdamW, M, B>,
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> MuonAdamW<M, B> {
    /// An optimiser that gives the parameters `matrices`, which must have two dimensions, to Muon.
    /// Without any it is AdamW.
    pub fn new(matrices: Vec<ParamId>, muon: &MuonConfig, adamw: &AdamWConfig) -> Self {
        Self { matrices, muon: muon.init().into(), adamw: adamw.init() }
    }

    /// Takes the gradients of the matrices out of `grads`.
    fn split(&self, grads: &mut GradientsParams) -> GradientsParams {
        let mut of_matrices = GradientsParams::new();
        for &id in &self.matrices {
            if let Some(grad) = grads.remove::<B::InnerBackend, 2>(id) {
                of_matrices.register::<B::InnerBackend, 2>(id, grad);
            }
        }
        of_matrices
    }
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> Optimizer<M, B> for MuonAdamW<M, B> {
    /// Muon's, then AdamW's.
    type Record = (
        <OptimizerAdaptor<Muon<B::InnerBackend>, M, B> as Optimizer<M, B>>::Record,
        <OptimizerAdaptor<AdamW, M, B> as Optimizer<M, B>>::Record,
    );

    fn step(&mut self, lr: f64, module: M, mut grads: GradientsParams) -> M {
        let of_matrices = self.split(&mut grads);
        let module = self.muon.step(lr, module, of_matrices);
        self.adamw.step(lr, module, grads)
    }

    fn step_multi(&mut self, lr: f64, module: M, mut grads: MultiGradientsParams) -> M {
        let split = |(grads, device): &mut (GradientsParams, _)| (self.split(grads), *device);
        let of_matrices =
            MultiGradientsParams { grads: grads.grads.iter_mut().map(split).collect() };
        let module = self.muon.step_multi(lr, module, of_matrices);
        self.adamw.step_multi(lr, module, grads)
    }

    fn to_record(&self) -> Self::Record {
        (self.muon.to_record(), self.adamw.to_record())
    }

    fn load_record(self, (muon, adamw): Self::Record) -> Self {
        Self {
            matrices: self.matrices,
            muon: self.muon.load_record(muon),
            adamw: self.adamw.load_record(adamw),
        }
    }
}

/// The weights of some linears, quantised or not: what Muon is for. Of a transformer they are all
/// matrices but embedding and output head:
///
/// ```
/// use bitnet::{BitNetTransformerConfig, optim::linear_weights};
/// # type B = burn_flex::Flex;
///
/// let model = BitNetTransformerConfig::new(100, 64, 2).init::<B>(&Default::default())?;
/// let matrices = linear_weights(model.linears().map(|(_, linear)| linear));
/// assert_eq!(matrices.len(), 14);
/// # Ok::<(), bitnet::ModelError>(())
/// ```
pub fn linear_weights<'a, B: Backend>(
    linears: impl IntoIterator<Item = &'a BitLinear<B>>,
) -> Vec<ParamId> {
    linears.into_iter().map(|linear| linear.weight.id).collect()
}
