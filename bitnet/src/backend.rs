//! The backends by name, and the step from a name to a type.

use std::{fmt, str::FromStr};

use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A Burn backend that a configuration can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// `flex`: Burn's portable CPU backend.
    Flex,
    /// `ndarray`: the older CPU backend.
    NdArray,
}

impl BackendKind {
    /// All backends, compiled in or not.
    pub const ALL: [Self; 2] = [Self::Flex, Self::NdArray];

    /// The name in configurations, which is also that of the cargo feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::NdArray => "ndarray",
        }
    }

    /// Calls `visitor` with the backend's type and default device.
    ///
    /// # Errors
    /// [`BackendError::NotCompiledIn`] if the cargo feature of that name is off.
    pub fn visit<V: BackendVisitor>(self, visitor: V) -> Result<V::Output, BackendError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(visitor.visit::<burn_flex::Flex>(Default::default())),
            #[cfg(feature = "ndarray")]
            Self::NdArray => Ok(visitor.visit::<burn_ndarray::NdArray>(Default::default())),
            #[allow(unreachable_patterns, reason = "reachable when a feature is off")]
            _ => Err(BackendError::NotCompiledIn(self)),
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| BackendError::Unknown(name.into()))
    }
}

/// Work that is generic over the backend and waits for its type.
pub trait BackendVisitor {
    /// What the work results in.
    type Output;

    /// Does the work on `device`.
    fn visit<B: Backend>(self, device: B::Device) -> Self::Output;
}

/// A backend that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No backend has that name.
    #[error("unknown backend \"{0}\" (known: flex, ndarray)")]
    Unknown(String),
    /// The backend's cargo feature is off.
    #[error("backend \"{0}\" is not compiled in; rebuild with --features {0}")]
    NotCompiledIn(BackendKind),
}
