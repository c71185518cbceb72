//! The gate of a feed-forward network, as part of other kernels.

use cubecl::prelude::*;

/// What a gate does to its first input, within kernels; `None`: there is no gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CubeGate {
    /// Nothing: rows are taken as they are.
    None,
    /// `relu(x)²`
    Relu2,
    /// `x · sigmoid(x)`
    Silu,
}

impl CubeGate {
    /// Halves of a row before the gate: gate projection and up projection.
    pub(super) fn halves(self) -> usize {
        if self == Self::None { 1 } else { 2 }
    }
}

/// The value of an activation.
#[cube]
fn activation<N: Size>(x: Vector<f32, N>, #[comptime] gate: CubeGate) -> Vector<f32, N> {
    if comptime!(gate == CubeGate::Relu2) {
        let positive = max(x, Vector::new(0.0f32));
        positive * positive
    } else {
        // The compiler for CUDA has no negation of vectors.
        x / (Vector::new(1.0f32) + (Vector::new(0.0f32) - x).exp())
    }
}

/// The derivative of an activation.
#[cube]
fn slope<N: Size>(x: Vector<f32, N>, #[comptime] gate: CubeGate) -> Vector<f32, N> {
    if comptime!(gate == CubeGate::Relu2) {
        max(x, Vector::new(0.0f32)) * Vector::new(2.0f32)
    } else {
        let one = Vector::<f32, N>::new(1.0f32);
        let sigmoid = one / (one + (Vector::new(0.0f32) - x).exp());
        sigmoid * (one + x * (one - sigmoid))
    }
}

/// What stands after the gate in place `i` of a row that begins at `first` and is `width` wide
/// there.
#[cube]
pub(super) fn after_gate<N: Size>(
    x: &Array<Vector<f32, N>>,
    first: usize,
    i: usize,
    width: usize,
    #[comptime] gate: CubeGate,
) -> Vector<f32, N> {
    if comptime!(gate == CubeGate::None) {
        x[first + i]
    } else {
        activation::<N>(x[first + i], gate) * x[first + width + i]
    }
}

/// Writes the gradient before the gate, of one after it.
#[cube]
pub(super) fn before_gate<N: Size>(
    x: &Array<Vector<f32, N>>,
    dx: &mut Array<Vector<f32, N>>,
    first: usize,
    i: usize,
    width: usize,
    grad: Vector<f32, N>,
    #[comptime] gate: CubeGate,
) {
    if comptime!(gate == CubeGate::None) {
        dx[first + i] = grad;
    } else {
        let g = x[first + i];
        let up = x[first + width + i];
        dx[first + i] = grad * up * slope::<N>(g, gate);
        dx[first + width + i] = grad * activation::<N>(g, gate);
    }
}
