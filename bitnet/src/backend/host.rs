//! The machine's own processor and memory.

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

#[cfg(any(feature = "flex", feature = "ndarray"))]
use super::device::Found;
use super::{DeviceInfo, device::Memory};

/// The processor as the one device of a CPU backend.
#[cfg(any(feature = "flex", feature = "ndarray"))]
pub(super) fn devices<D: Default>() -> Vec<Found<D>> {
    vec![Found { info: cpu(), device: D::default() }]
}

/// Name of the processor, and memory of the machine.
pub(super) fn cpu() -> DeviceInfo {
    let what = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(what);
    let name = system.cpus().first().map_or("", |cpu| cpu.brand().trim());
    let threads = system.cpus().len();
    DeviceInfo {
        id: "cpu".into(),
        name: format!("{name}, {threads} threads"),
        memory: Memory::Total(system.total_memory()),
    }
}
