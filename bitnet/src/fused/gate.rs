use burn::tensor::{Tensor, backend::Backend};
use burn_flex::{Flex, FlexTensor};
use multiversion::multiversion;

use super::{
    fresh::zeros,
    kernel::{as_matrix, compute, primitive, tensor, values},
    rows::for_pieces,
};
use crate::float::exp;
use crate::ops::autodiff::DifferentiableOp;

/// What a gate does to its first input.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gate {
    /// `relu(x)²`
    Relu2,
    /// `x · sigmoid(x)`
    Silu,
}

impl Gate {
    /// The product `self(gate) · up`.
    ///
    /// # Shapes
    /// - `gate`, `up`: `[tokens, features]`; the output has the same shape.
    pub(crate) fn apply<B: Backend>(self, gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
        compute::<B, _, 2, 2>(self, [primitive(gate), primitive(up)])
    }

    /// The same over slices.
    pub(super) fn open(self, gate: &[f32], up: &[f32], y: &mut [f32]) {
        match self {
            Self::Relu2 => relu2_forward(gate, up, y),
            Self::Silu => silu_forward(gate, up, y),
        }
    }

    /// The gradients of gate and other input; `du` holds the gradient of the output.
    pub(super) fn pull_back(self, inputs: [&[f32]; 2], dg: &mut [f32], du: &mut [f32]) {
        match self {
            Self::Relu2 => relu2_backward(inputs, dg, du),
            Self::Silu => silu_backward(inputs, dg, du),
        }
    }
}

/// Value and derivative.
#[inline(always)]
fn relu2(x: f32) -> (f32, f32) {
    let positive = if x < 0.0 { 0.0 } else { x };
    (positive * positive, 2.0 * positive)
}

/// Value and derivative.
#[inline(always)]
fn silu(x: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp(-x));
    (x * sigmoid, sigmoid * (1.0 + x * (1.0 - sigmoid)))
}

impl DifferentiableOp<Flex, 2> for Gate {
    type Saved = [FlexTensor; 2];

    fn forward(&self, [gate, up]: [FlexTensor; 2]) -> (FlexTensor, [FlexTensor; 2]) {
        let (rows, width) = as_matrix(&gate);
        let (g, u) = (values(&gate), values(&up));
        let mut y = zeros(g.len());
        for_pieces(2 * g.len(), rows, [(&mut y, width)], |first, [y]| {
            let range = first * width..first * width + y.len();
            self.open(&g[range.clone()], &u[range], y);
        });
        (tensor(y, gate.layout().shape().clone()), [gate, up])
    }

    fn backward(
        &self,
        [gate, up]: [FlexTensor; 2],
        mut grad: FlexTensor,
        wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let (rows, width) = as_matrix(&gate);
        let (g, u) = (values(&gate), values(&up));
        let mut dg = zeros(g.len());
        // In place, where nobody else has this gradient.
        let du = grad.storage_mut();
        for_pieces(3 * g.len(), rows, [(&mut dg, width), (du, width)], |first, [dg, du]| {
            let range = first * width..first * width + dg.len();
            self.pull_back([&g[range.clone()], &u[range]], dg, du);
        });
        let dg = wanted[0].then(|| tensor(dg, gate.layout().shape().clone()));
        [dg, wanted[1].then_some(grad)]
    }
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn relu2_forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    forward(gate, up, y, relu2);
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn silu_forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    forward(gate, up, y, silu);
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn relu2_backward(inputs: [&[f32]; 2], dg: &mut [f32], du: &mut [f32]) {
    backward(inputs, dg, du, relu2);
}

#[multiversion(targets("x86_64+avx2+fma+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn silu_backward(inputs: [&[f32]; 2], dg: &mut [f32], du: &mut [f32]) {
    backward(inputs, dg, du, silu);
}

#[inline(always)]
fn forward(gate: &[f32], up: &[f32], y: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    for ((y, &gate), &up) in y.iter_mut().zip(gate).zip(up) {
        *y = f(gate).0 * up;
    }
}

/// `du` holds the gradient of the output.
#[inline(always)]
fn backward(
    [gate, up]: [&[f32]; 2],
    dg: &mut [f32],
    du: &mut [f32],
    f: impl Fn(f32) -> (f32, f32),
) {
    for ((dg, du), (&gate, &up)) in dg.iter_mut().zip(du).zip(gate.iter().zip(up)) {
        let (value, slope) = f(gate);
        *dg = *du * up * slope;
        *du *= value;
    }
}
