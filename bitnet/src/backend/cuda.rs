//! The devices of `cuda`.

use burn_cuda::CudaDevice;

use super::{BackendError, BackendKind, device::Found, nvidia};

/// All of NVIDIA's GPUs.
pub(super) fn devices() -> Result<Vec<Found<CudaDevice>>, BackendError> {
    let gpus = nvidia::gpus()
        .map_err(|reason| BackendError::NoDevice { kind: BackendKind::Cuda, reason })?;
    let device = |(index, info)| Found { info, device: CudaDevice { index } };
    Ok(gpus.into_iter().enumerate().map(device).collect())
}
