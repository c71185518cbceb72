//! Where to compute.

use bitnet::backend::{BackendError, BackendKind, BackendVisitor, DeviceChoice};
use command_line::limit_threads;

/// A backend and one of its devices.
#[derive(Debug, Clone, clap::Args)]
pub struct BackendArgs {
    /// Backend to compute on: flex, ndarray, wgpu, tch or cuda
    #[arg(long, value_name = "NAME", default_value_t = first())]
    backend: BackendKind,
    /// Device of that backend, by number or name; `train backends` lists them
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    #[command(flatten)]
    threads: ThreadArgs,
}

/// The first backend that is compiled in.
fn first() -> BackendKind {
    BackendKind::compiled_in().next().unwrap_or(BackendKind::Flex)
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
        self.threads.limit(self.backend)?;
        self.backend.visit(&self.device, visitor)?
    }
}

/// How many threads compute.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct ThreadArgs {
    /// Threads that compute on the CPU [default: one per core]
    #[arg(short, long, value_name = "N")]
    threads: Option<usize>,
}

impl ThreadArgs {
    /// Lets a backend have no more than those, before it computes.
    ///
    /// # Errors
    /// If it has no threads, or not so many.
    pub fn limit(self, backend: BackendKind) -> Result<(), BackendError> {
        self.threads.map_or(Ok(()), |threads| limit_threads(backend, threads))
    }
}
