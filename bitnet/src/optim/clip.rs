use burn::{
    module::{AutodiffModule, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Tensor, backend::AutodiffBackend},
};

use crate::reciprocal::reciprocal;

/// Scales the gradients of `module` so that their norm, over all parameters together, is at most
/// `max_norm` (arXiv 1211.5063). Directions are kept: clipping tensor by tensor would not.
///
/// Returns the gradients and the norm before clipping, `[1]`. Nothing is read back from the
/// device.
pub fn clip_global_norm<B, M>(
    module: &M,
    mut grads: GradientsParams,
    max_norm: f64,
) -> (GradientsParams, Tensor<B::InnerBackend, 1>)
where
    B: AutodiffBackend,
    M: AutodiffModule<B>,
{
    let device = module.devices().into_iter().next().unwrap_or_default();
    let mut squares = SumOfSquares::<B> { grads: &grads, sum: Tensor::zeros([1], &device) };
    module.visit(&mut squares);
    let norm = squares.sum.sqrt();
    // As PyTorch: the small term keeps a zero norm from dividing by zero.
    let scale = reciprocal(norm.clone().add_scalar(1e-6)).mul_scalar(max_norm).clamp_max(1.0);
    module.visit(&mut Scale::<B> { grads: &mut grads, scale });
    (grads, norm)
}

struct SumOfSquares<'a, B: AutodiffBackend> {
    grads: &'a GradientsParams,
    sum: Tensor<B::InnerBackend, 1>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for SumOfSquares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.get::<B::InnerBackend, D>(param.id) {
            self.sum = self.sum.clone() + grad.square().sum();
        }
    }
}

struct Scale<'a, B: AutodiffBackend> {
    grads: &'a mut GradientsParams,
    scale: Tensor<B::InnerBackend, 1>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) {
            let scaled = grad * self.scale.clone().unsqueeze();
            self.grads.register::<B::InnerBackend, D>(param.id, scaled);
        }
    }
}
