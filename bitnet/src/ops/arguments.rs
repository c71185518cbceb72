//! The arguments of operations: both the file of an operation, with its composed form and the
//! choice, and the implementations for devices take them.

use burn::tensor::{Tensor, backend::Backend};

use super::Columns;
use crate::{cpu::gate::Gate, precision::Precision};

/// The quantiser of a weight with one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightQuantizer {
    /// [`ternary_absmean`](crate::quant::ternary_absmean)
    Ternary,
    /// [`binary_absmean`](crate::quant::binary_absmean)
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
    /// `[tokens, d_input]`; with a gate two of these, the gate projection and the up projection.
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

    /// A gated input: two matrices `[tokens, d_input]`, the gate projection and the up projection.
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

/// The parameters of self-attention, the same for all sequences.
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
