//! The devices of `tch`.

use burn_tch::LibTorchDevice;

use super::{
    BackendError, DeviceInfo,
    device::{Found, Memory},
    host, libtorch, nvidia,
};

/// GPUs that LibTorch can use, then the processor.
///
/// # Errors
/// [`BackendError::LibTorchVersion`].
pub(super) fn devices() -> Result<Vec<Found<LibTorchDevice>>, BackendError> {
    libtorch::check()?;
    let mut all = Vec::new();
    // A LibTorch for CPUs counts none.
    let gpus = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    let known = if gpus > 0 { nvidia::gpus().unwrap_or_default() } else { Vec::new() };
    for index in 0..gpus {
        let info = known.get(index).cloned().unwrap_or_else(|| DeviceInfo {
            id: format!("cuda:{index}"),
            name: "CUDA device".into(),
            memory: Memory::Unknown,
        });
        all.push(Found { info, device: LibTorchDevice::Cuda(index) });
    }
    if tch::utils::has_mps() {
        let host = host::cpu();
        let info = DeviceInfo { id: "mps".into(), name: "Metal".into(), memory: host.memory };
        all.push(Found { info, device: LibTorchDevice::Mps });
    }
    all.push(Found { info: host::cpu(), device: LibTorchDevice::Cpu });
    Ok(all)
}
