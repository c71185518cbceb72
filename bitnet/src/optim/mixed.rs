use burn::{
    module::{AutodiffModule, Module, ModuleVisitor, Param, ParamId},
    optim::{GradientsParams, MultiGradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    tensor::{
        Tensor,
        backend::{AutodiffBackend, Backend},
    },
};

use super::{AdamW, AdamWConfig, Muon, MuonConfig};

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

/// The weights of all [`BitLinear`](crate::BitLinear)s of a module, quantised or not: what Muon
/// is for. Embeddings, output heads, gains and biases are not among them.
pub fn linear_weights<B: Backend, M: Module<B>>(module: &M) -> Vec<ParamId> {
    let mut finder = Finder { path: Vec::new(), found: Vec::new() };
    module.visit(&mut finder);
    finder.found
}

struct Finder {
    /// Names of the fields down to the one the walk is at, and of the types they are in.
    path: Vec<(String, String)>,
    found: Vec<ParamId>,
}

impl<B: Backend> ModuleVisitor<B> for Finder {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.into(), container.into()));
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let is_weight = |(name, container): &(String, String)| {
            name == "weight" && container == "Struct:BitLinear"
        };
        if D == 2 && self.path.last().is_some_and(is_weight) {
            self.found.push(param.id);
        }
    }
}
