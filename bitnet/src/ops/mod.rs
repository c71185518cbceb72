//! The operations of the model: what each computes, and what computes it.

#[cfg(feature = "flex")]
pub(crate) mod autodiff;
