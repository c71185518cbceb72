//! Nothing is fused where the backend of the fused operations is not compiled in: [`applies`] says
//! so, and nothing else is called.

use burn::tensor::{Int, Tensor, backend::Backend};

pub(crate) fn applies<B: Backend, const D: usize>(_: &Tensor<B, D>) -> bool {
    false
}

pub(crate) fn rms_norm<B: Backend, const D: usize>(
    _: Tensor<B, D>,
    _: Tensor<B, 1>,
    _: f64,
) -> Tensor<B, D> {
    unreachable!("nothing is fused")
}

pub(crate) fn token_losses<B: Backend>(_: Tensor<B, 2>, _: Tensor<B, 1, Int>) -> Tensor<B, 1> {
    unreachable!("nothing is fused")
}

pub(crate) fn rotate<B: Backend>(
    _: Tensor<B, 4>,
    _: Tensor<B, 2>,
    _: Tensor<B, 2>,
) -> Tensor<B, 4> {
    unreachable!("nothing is fused")
}

pub(crate) fn bf16_linear<B: Backend>(_: Tensor<B, 2>, _: Tensor<B, 2>, _: bool) -> Tensor<B, 2> {
    unreachable!("nothing is fused")
}

pub(crate) fn mean_magnitude<B: Backend, const D: usize>(_: Tensor<B, D>) -> Tensor<B, D> {
    unreachable!("nothing is fused")
}

pub(crate) fn sum_of_squares<B: Backend>(_: &[Tensor<B, 1>]) -> f64 {
    unreachable!("nothing is fused")
}

pub(crate) fn scale<B: Backend>(_: Vec<Tensor<B, 1>>, _: f32) -> Vec<Tensor<B, 1>> {
    unreachable!("nothing is fused")
}

pub(crate) fn swap_heads<B: Backend>(_: Tensor<B, 4>) -> Tensor<B, 4> {
    unreachable!("nothing is fused")
}

pub(crate) fn causal_attention<B: Backend>(
    _: Tensor<B, 4>,
    _: Tensor<B, 4>,
    _: Tensor<B, 4>,
    _: usize,
    _: usize,
    _: bool,
) -> Tensor<B, 4> {
    unreachable!("nothing is fused")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightCoding {
    Ternary,
    Binary,
}

#[derive(Debug, Clone)]
#[allow(dead_code, reason = "never computed with")]
pub(crate) struct CodedLinears {
    pub(crate) coding: WeightCoding,
    pub(crate) bf16_gradients: bool,
    pub(crate) gate: Option<Gate>,
    pub(crate) norm: Option<f64>,
    pub(crate) residual: bool,
}

impl CodedLinears {
    pub(crate) fn apply<B: Backend, const N: usize>(self, _: [Tensor<B, 2>; N]) -> Tensor<B, 2> {
        unreachable!("nothing is fused")
    }
}

#[derive(Debug, Clone)]
#[allow(dead_code, reason = "never computed with")]
pub(crate) struct SelfAttention {
    pub(crate) seq: usize,
    pub(crate) heads: [usize; 2],
    pub(crate) dim: usize,
    pub(crate) norm: Option<f64>,
    pub(crate) bf16: bool,
}

impl SelfAttention {
    pub(crate) fn apply<B: Backend, const N: usize>(self, _: [Tensor<B, 2>; N]) -> Tensor<B, 2> {
        unreachable!("nothing is fused")
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Gate {
    Relu2,
    Silu,
}

impl Gate {
    pub(crate) fn apply<B: Backend>(self, _: Tensor<B, 2>, _: Tensor<B, 2>) -> Tensor<B, 2> {
        unreachable!("nothing is fused")
    }
}

#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "never computed with")]
pub(crate) struct AdamWStep {
    pub(crate) lr: f64,
    pub(crate) keep: f64,
    pub(crate) betas: (f32, f32),
    pub(crate) epsilon: f32,
    pub(crate) time: usize,
}

impl AdamWStep {
    pub(crate) fn apply<B: Backend, const D: usize>(
        self,
        _: [Tensor<B, D>; 3],
        _: Tensor<B, D>,
    ) -> [Tensor<B, D>; 3] {
        unreachable!("nothing is fused")
    }
}
