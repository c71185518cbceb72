//! The devices of `wgpu`: the adapters of the graphics interface that the backend computes with.

use burn_wgpu::{
    WgpuDevice,
    graphics::{AutoGraphicsApi, GraphicsApi},
};
use wgpu::{DeviceType, Instance, InstanceDescriptor};

use super::{
    BackendError, BackendKind, DeviceInfo,
    device::{Found, Memory},
};

const NO_DEVICE: &str = "there is no Vulkan (on Apple: Metal) driver with a device; install that \
    of your GPU, or Mesa's software Vulkan (Debian: apt-get install mesa-vulkan-drivers)";

/// All adapters, real GPUs first. The backend itself would panic where there is none.
pub(super) fn devices() -> Result<Vec<Found<WgpuDevice>>, BackendError> {
    let backend = AutoGraphicsApi::backend();
    let instance = Instance::new(InstanceDescriptor {
        backends: backend.into(),
        ..InstanceDescriptor::new_without_display_handle()
    });
    let adapters = pollster::block_on(instance.enumerate_adapters(backend.into()));

    let mut all = Vec::new();
    for (device_type, kind) in [
        (DeviceType::DiscreteGpu, "discrete"),
        (DeviceType::IntegratedGpu, "integrated"),
        (DeviceType::VirtualGpu, "virtual"),
        (DeviceType::Cpu, "cpu"),
    ] {
        // The backend counts in this order, too.
        let same = adapters.iter().filter(|adapter| adapter.get_info().device_type == device_type);
        for (index, adapter) in same.enumerate() {
            let (id, device) = match device_type {
                DeviceType::DiscreteGpu => {
                    (format!("{kind}:{index}"), WgpuDevice::DiscreteGpu(index))
                }
                DeviceType::IntegratedGpu => {
                    (format!("{kind}:{index}"), WgpuDevice::IntegratedGpu(index))
                }
                DeviceType::VirtualGpu => {
                    (format!("{kind}:{index}"), WgpuDevice::VirtualGpu(index))
                }
                // It can reach the first only.
                _ if index > 0 => continue,
                _ => (kind.into(), WgpuDevice::Cpu),
            };
            let name = adapter.get_info().name;
            let memory = Memory::LargestBuffer(adapter.limits().max_buffer_size);
            all.push(Found { info: DeviceInfo { id, name, memory }, device });
        }
    }
    if all.is_empty() {
        return Err(BackendError::NoDevice { kind: BackendKind::Wgpu, reason: NO_DEVICE.into() });
    }
    Ok(all)
}
