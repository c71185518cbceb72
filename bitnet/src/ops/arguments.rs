//! Arguments that an operation and its implementations share, which has the composed
//! form and the choice, and by the implementations of devices.

use burn::tensor::{Tensor, backend::Backend};

use super::Columns;
use crate::{cpu::gate::Gate, precision::Precision};

/// The quantiser of a weight with one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightQuantizer {
    /// [`ternary_absmean`](super::absmean::ternary_absmean)
    Ternary,
    /// [`binary_absmean`](super::absmean::binary_absmean)
    Binary,
}

/// Gains of an RMSNorm, and its ε.
#[derive(Debug, Clone)]
pub(crate) struct Norm<B: Backend> {
    /// `[features]`
    pub(crate) gains: Tensor<B, 1>,
    pub(crate) eps: f64,
}

/// The input of linear layers, and what goes before and after them.
#[derive(Debug, Clone)]
pub(crate) struct LinearInput<B: Backend> {
    /// `[tokens, d_input]`; where there is a gate, what it opens with and what passes it, each of
    /// these shapes.
    pub(crate) x: Columns<B>,
    pub(crate) gate: Option<Gate>,
    pub(crate) norm: Option<Norm<B>>,
    /// What is added to the output, `[tokens, d_output]`.
    pub(crate) residual: Option<Tensor<B, 2>>,
}

impl<B: Backend> LinearInput<B> {
    /// An input alone, `[tokens, d_input]`.
    pub(crate) fn new(x: Tensor<B, 2>) -> Self {
        Self { x: Columns::one(x), gate: None, norm: None, residual: None }
    }

    /// What passes a gate: two matrices `[tokens, d_input]`, of which the first opens it.
    pub(crate) fn gated(gate: Gate, x: Columns<B>) -> Self {
        Self { x, gate: Some(gate), norm: None, residual: None }
    }

    /// With a norm before the layers, if there is one.
    pub(crate) fn with_norm(self, norm: Option<Norm<B>>) -> Self {
        Self { norm, ..self }
    }

    /// With what is added to the output of the layer.
    pub(crate) fn with_residual(self, residual: Tensor<B, 2>) -> Self {
        Self { residual: Some(residual), ..self }
    }
}

/// What of self-attention does not change from one sequence to the next.
#[derive(Debug, Clone)]
pub(crate) struct SelfAttention<B: Backend> {
    /// Query heads.
    pub(crate) heads: usize,
    /// Heads of keys and values.
    pub(crate) kv_heads: usize,
    /// Width of a head.
    pub(crate) dim: usize,
    /// Norms of the heads of queries and of keys, with one ε.
    pub(crate) norms: Option<[Norm<B>; 2]>,
    /// Of the products.
    pub(crate) precision: Precision,
}
