//! The main memory: what this process holds of it, and how fast it is read.

mod read_rate;

use std::fs;

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};

pub use read_rate::ReadRate;

/// Bytes of main memory that this process holds; `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    let id = get_current_pid().ok()?;
    let mut system = System::new();
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[id]),
        false,
        ProcessRefreshKind::nothing().with_memory().without_tasks(),
    );
    Some(system.process(id)?.memory())
}

/// Most bytes of main memory that this process has held at once; `None` where the system does not
/// say.
pub fn peak_resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kilobytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_written_is_resident() {
        // Unseen, it would not have to be written.
        let block = std::hint::black_box(vec![1u8; 1 << 28]);
        let resident = resident_bytes().unwrap();
        let peak = peak_resident_bytes().unwrap();
        assert!(resident >= block.len() as u64 && peak >= block.len() as u64, "{resident}, {peak}");
    }
}
