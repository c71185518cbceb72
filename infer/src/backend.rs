//! Where to compute.

use bitnet::backend::{BackendKind, BackendVisitor, DeviceChoice};

/// A backend and one of its devices.
#[derive(Debug, Clone, clap::Args)]
pub struct BackendArgs {
    /// Backend to compute on: flex, ndarray, wgpu, tch or cuda
    #[arg(long, value_name = "NAME", default_value_t = first())]
    backend: BackendKind,
    /// Device of that backend, by number or name; `train backends` lists them
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

impl Default for BackendArgs {
    fn default() -> Self {
        Self { backend: first(), device: DeviceChoice::default() }
    }
}

/// The first backend that is compiled in.
fn first() -> BackendKind {
    let kinds = BackendKind::ALL.into_iter();
    kinds.clone().find(|kind| kind.is_compiled_in()).unwrap_or(BackendKind::Flex)
}

impl BackendArgs {
    /// Whether that is one of the backends whose place packed weights can take.
    pub fn is_cpu(&self) -> bool {
        matches!(self.backend, BackendKind::Flex | BackendKind::NdArray)
    }

    /// Has `visitor` work there.
    ///
    /// # Errors
    /// Its own, or if backend or device is not there.
    pub fn visit<V>(&self, visitor: V) -> anyhow::Result<()>
    where
        V: BackendVisitor<Output = anyhow::Result<()>>,
    {
        self.backend.visit(&self.device, visitor)?
    }
}
