use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::{
    module::AutodiffModule,
    optim::{GradientsParams, MultiGradientsParams, Optimizer},
    tensor::backend::AutodiffBackend,
};

/// An optimiser with several owners: burn-train's learner steps it but does not hand out its
/// state, which the checkpoints need.
#[derive(Clone)]
pub struct SharedOptimizer<O>(Arc<Mutex<O>>);

impl<O> SharedOptimizer<O> {
    /// Shares `optimizer`.
    pub fn new(optimizer: O) -> Self {
        Self(Arc::new(Mutex::new(optimizer)))
    }

    fn lock(&self) -> MutexGuard<'_, O> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O, M, B> Optimizer<M, B> for SharedOptimizer<O>
where
    O: Optimizer<M, B>,
    M: AutodiffModule<B>,
    B: AutodiffBackend,
{
    type Record = O::Record;

    fn step(&mut self, lr: f64, module: M, grads: GradientsParams) -> M {
        self.lock().step(lr, module, grads)
    }

    fn step_multi(&mut self, lr: f64, module: M, grads: MultiGradientsParams) -> M {
        self.lock().step_multi(lr, module, grads)
    }

    fn to_record(&self) -> Self::Record {
        self.lock().to_record()
    }

    fn load_record(self, record: Self::Record) -> Self {
        let loaded = self.lock().clone().load_record(record);
        *self.lock() = loaded;
        self
    }
}
