//! NVIDIA's GPUs, as its driver lists them.

use cudarc::driver::{CudaContext, DriverError};

use super::{DeviceInfo, device::Memory};
use crate::panics::catch_panic;

/// The GPUs, in CUDA's order.
///
/// # Errors
/// One line on what is missing.
pub(super) fn gpus() -> Result<Vec<DeviceInfo>, String> {
    // Where there is no driver, its library cannot be loaded: a panic.
    match catch_panic(list) {
        Ok(Ok(gpus)) if gpus.is_empty() => Err("the NVIDIA driver finds no GPU".into()),
        Ok(Ok(gpus)) => Ok(gpus),
        Ok(Err(error)) => Err(format!("the NVIDIA driver says {}", reason(error))),
        Err(_) => Err("there is no NVIDIA driver (libcuda); install it".into()),
    }
}

fn list() -> Result<Vec<DeviceInfo>, DriverError> {
    (0..CudaContext::device_count()?)
        .map(|index| {
            let gpu = CudaContext::new(index as usize)?;
            let memory =
                gpu.total_mem().map_or(Memory::Unknown, |bytes| Memory::Total(bytes as u64));
            Ok(DeviceInfo { id: format!("cuda:{index}"), name: gpu.name()?, memory })
        })
        .collect()
}

fn reason(error: DriverError) -> String {
    match error.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("{error:?}"),
    }
}
