use std::{iter::Peekable, vec};

use burn::{
    module::{AutodiffModule, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{Shape, Tensor, backend::AutodiffBackend},
};

use crate::ops;

/// Scales the gradients of `module` so that their norm, over all parameters together, is at most
/// `max_norm` (arXiv 1211.5063). Directions are kept: clipping tensor by tensor would not.
///
/// Returns the gradients and the norm before clipping, `[1]`. Nothing is read back from a device
/// other than the processor.
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
    let mut taken = Take::<B> { grads: &mut grads, all: Vec::new() };
    module.visit(&mut taken);
    let (params, all): (Vec<_>, Vec<_>) = taken.all.into_iter().unzip();
    let (all, norm) = ops::clip::clip(all, max_norm, &device);
    let all = params.into_iter().zip(all).collect::<Vec<_>>().into_iter().peekable();
    module.visit(&mut PutBack::<B> { grads: &mut grads, all });
    (grads, norm)
}

/// A parameter, and the shape of its gradient.
type Place = (ParamId, Shape);
type Taken<B> = (Place, Tensor<<B as AutodiffBackend>::InnerBackend, 1>);

/// Takes out all gradients, flattened.
struct Take<'a, B: AutodiffBackend> {
    grads: &'a mut GradientsParams,
    all: Vec<Taken<B>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Take<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) {
            let shape = grad.shape();
            let flat = grad.reshape([shape.num_elements()]);
            self.all.push(((param.id, shape), flat));
        }
    }
}

/// Puts them back, in the same order.
struct PutBack<'a, B: AutodiffBackend> {
    grads: &'a mut GradientsParams,
    all: Peekable<vec::IntoIter<Taken<B>>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for PutBack<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(((id, shape), flat)) = self.all.next_if(|((id, _), _)| *id == param.id) {
            self.grads.register::<B::InnerBackend, D>(id, flat.reshape::<D, _>(shape));
        }
    }
}
