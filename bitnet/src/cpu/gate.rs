//! Gates of feed-forward networks, and their gradients.

use super::{float::exp, vectorized};

/// What a gate does to its first input.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Gate {
    /// `relu(x)²`
    Relu2,
    /// `x · sigmoid(x)`
    Silu,
}

impl Gate {
    /// Writes `self(gate) · up`.
    pub(crate) fn forward(self, gate: &[f32], up: &[f32], y: &mut [f32]) {
        match self {
            Self::Relu2 => relu2_forward(gate, up, y),
            Self::Silu => silu_forward(gate, up, y),
        }
    }

    /// The gradients of gate and other input; `du` holds the gradient of the output.
    pub(crate) fn backward(self, inputs: [&[f32]; 2], dg: &mut [f32], du: &mut [f32]) {
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

vectorized! {
    fn relu2_forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
        forward(gate, up, y, relu2);
    }
}

vectorized! {
    fn silu_forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
        forward(gate, up, y, silu);
    }
}

vectorized! {
    fn relu2_backward(inputs: [&[f32]; 2], dg: &mut [f32], du: &mut [f32]) {
        backward(inputs, dg, du, relu2);
    }
}

vectorized! {
    fn silu_backward(inputs: [&[f32]; 2], dg: &mut [f32], du: &mut [f32]) {
        backward(inputs, dg, du, silu);
    }
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
