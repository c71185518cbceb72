//! The backends by name: which there are, what devices they find, and the step from the two names
//! to a type and a device.
//!
//! ```
//! use bitnet::backend::{BackendKind, BackendVisitor, DeviceChoice};
//! use burn::tensor::{Tensor, backend::Backend};
//!
//! struct Sum;
//!
//! impl BackendVisitor for Sum {
//!     type Output = f32;
//!
//!     fn visit<B: Backend>(self, device: B::Device) -> f32 {
//!         let ones = Tensor::<B, 2>::ones([2, 3], &device);
//!         ones.sum().into_data().iter::<f32>().sum()
//!     }
//! }
//!
//! let device: DeviceChoice = "cpu".parse()?;
//! assert_eq!("flex".parse::<BackendKind>()?.visit(&device, Sum)?, 6.0);
//! # Ok::<(), bitnet::backend::BackendError>(())
//! ```

#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod error;
#[cfg(any(feature = "flex", feature = "ndarray", feature = "tch"))]
mod host;
mod kind;
#[cfg(feature = "tch")]
mod libtorch;
#[cfg(any(feature = "cuda", feature = "tch"))]
mod nvidia;
#[cfg(feature = "tch")]
mod tch;
mod threads;
mod visit;
#[cfg(feature = "wgpu")]
mod wgpu;

pub use device::{DeviceChoice, DeviceInfo, Memory};
pub use error::BackendError;
pub use kind::BackendKind;
pub use threads::{MAX_THREADS, PRODUCTS_VARIABLE, limit_threads};
pub use visit::BackendVisitor;

pub use crate::panics::{Panic, catch_panic, is_catching};
