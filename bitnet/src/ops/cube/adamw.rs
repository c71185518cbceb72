//! A step of AdamW in one pass.

use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{
    tensors::{cubes, elements, lanes, len},
    units::UNITS_PER_CUBE,
};

/// The numbers of an AdamW step (arXiv 1711.05101).
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamW {
    /// Learning rate.
    pub(crate) lr: f32,
    /// Factor of the parameter before the step: 1 less the decay.
    pub(crate) keep: f32,
    /// Decay rates of the moments.
    pub(crate) betas: (f32, f32),
    /// Added to the root of the second moment.
    pub(crate) epsilon: f32,
    /// Number of the step, from 1.
    pub(crate) time: usize,
}

impl AdamW {
    /// Steps a parameter and its moments, in place where nothing else holds them.
    pub(crate) fn step<R: CubeRuntime>(
        self,
        tensors: [CubeTensor<R>; 3],
        grad: &CubeTensor<R>,
    ) -> [CubeTensor<R>; 3] {
        let tensors = tensors.map(own);
        let [p, m, v] = &tensors;
        let count = len(grad);
        let lanes = lanes(count);
        let vectors = count / lanes;
        let Self { lr, keep, betas: (beta_1, beta_2), epsilon, time } = self;
        let time = time as i32;
        // SAFETY: units beyond the vectors do nothing.
        unsafe {
            step_parameter::launch_unchecked::<R>(
                &grad.client,
                cubes(vectors.div_ceil(UNITS_PER_CUBE)),
                CubeDim::new_1d(UNITS_PER_CUBE as u32),
                lanes,
                elements(grad),
                elements(p),
                elements(m),
                elements(v),
                vectors,
                lr,
                keep,
                beta_1,
                beta_2,
                1.0 / (1.0 - beta_1.powi(time)),
                1.0 / (1.0 - beta_2.powi(time)),
                epsilon,
            );
        }
        tensors
    }
}

/// A contiguous tensor that nothing else holds: the same one where it is that.
fn own<R: CubeRuntime>(tensor: CubeTensor<R>) -> CubeTensor<R> {
    let tensor = burn_cubecl::kernel::into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { super::gradients::copied(&tensor) }
}

#[cube(launch_unchecked)]
fn step_parameter<N: Size>(
    grad: &Array<Vector<f32, N>>,
    parameter: &mut Array<Vector<f32, N>>,
    moment_1: &mut Array<Vector<f32, N>>,
    moment_2: &mut Array<Vector<f32, N>>,
    vectors: usize,
    lr: f32,
    keep: f32,
    beta_1: f32,
    beta_2: f32,
    correction_1: f32,
    correction_2: f32,
    epsilon: f32,
) {
    let i = ABSOLUTE_POS;
    if i < vectors {
        let g = grad[i];
        let m = moment_1[i] * Vector::new(beta_1) + g * Vector::new(1.0f32 - beta_1);
        let v = moment_2[i] * Vector::new(beta_2) + g * g * Vector::new(1.0f32 - beta_2);
        let root = (v * Vector::new(correction_2)).sqrt() + Vector::new(epsilon);
        moment_1[i] = m;
        moment_2[i] = v;
        parameter[i] = parameter[i] * Vector::new(keep)
            - m * Vector::new(correction_1) / root * Vector::new(lr);
    }
}
