use burn::tensor::{Tensor, backend::Backend};

use crate::linear::BitLinear;

type See<'a, B> = &'a dyn Fn(&[&BitLinear<B>], &Tensor<B, 2>);

/// Is shown the inputs of linears during a forward pass, if anybody looks.
pub(super) struct Observer<'a, B: Backend>(Option<See<'a, B>>);

impl<'a, B: Backend> Observer<'a, B> {
    pub(super) const NONE: Self = Self(None);

    pub(super) fn new(see: See<'a, B>) -> Self {
        Self(Some(see))
    }

    /// Whether anybody looks.
    pub(super) fn looks(self) -> bool {
        self.0.is_some()
    }

    /// Shows some linears that are alike but for their weights, and the input that all of them read.
    ///
    /// # Shapes
    /// - `input`: `[..., d_input]`
    pub(super) fn see<const D: usize>(self, linears: &[&BitLinear<B>], input: &Tensor<B, D>) {
        if let Some(see) = self.0 {
            let features = input.dims()[D - 1];
            see(linears, &input.clone().reshape([-1, features as i64]));
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
