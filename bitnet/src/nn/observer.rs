use burn::tensor::{Tensor, backend::Backend};

use super::BitLinear;
use crate::ops::quantized_linear::LinearInput;

type Visit<'a, B> = &'a dyn Fn(&[&BitLinear<B>], &Tensor<B, 2>);

/// Calls a visitor, if there is one, with the inputs of linears during a forward pass.
pub(super) struct Observer<'a, B: Backend>(Option<Visit<'a, B>>);

impl<'a, B: Backend> Observer<'a, B> {
    pub(super) const NONE: Self = Self(None);

    pub(super) fn new(visit: Visit<'a, B>) -> Self {
        Self(Some(visit))
    }

    /// Visits some linears that are alike but for their weights, and the input that all of them
    /// read, after its norm.
    pub(super) fn visit(self, linears: &[&BitLinear<B>], input: &LinearInput<B>) {
        if let Some(visit) = self.0 {
            let (x, _) = input.clone().prepare();
            visit(linears, &x);
        }
    }
}

// Not derived, which would ask the same of the backend.
impl<B: Backend> Clone for Observer<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Observer<'_, B> {}
