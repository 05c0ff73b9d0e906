//! How many VMs at once.

use std::{fs, thread};

use super::boot::MEMORY_MIB;

/// What QEMU itself needs besides the memory of its VM, in MiB.
const OVERHEAD_MIB: u64 = 150;

/// As many as there are cores, each VM keeping one busy, and as the free memory has room for; at least one.
pub(super) fn default() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    match fs::read_to_string("/proc/meminfo")
        .ok()
        .as_deref()
        .and_then(available_mib)
    {
        Some(free) => cores.min(room(free, MEMORY_MIB.into())),
        None => cores,
    }
}

fn room(free_mib: u64, memory_mib: u64) -> usize {
    usize::try_from(free_mib / (memory_mib + OVERHEAD_MIB))
        .unwrap_or(usize::MAX)
        .max(1)
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_limits_the_number_but_one_always_runs() {
        let free = available_mib("MemTotal: 9 kB\nMemAvailable:    2097152 kB\n").unwrap();
        assert_eq!(free, 2048);
        assert_eq!(room(free, 512), 3);
        assert_eq!(room(100, 512), 1);
        assert_eq!(available_mib("MemTotal: 9 kB\n"), None);
        assert!(default() >= 1);
    }
}
