//! The default number of VMs that run at once.

use std::{fs, path::Path, thread};

use super::boot::MEMORY_MIB;

/// The memory that QEMU requires in addition to that of its VM, in MiB.
const OVERHEAD_MIB: u64 = 150;

/// The number of VMs for the cores and the free memory of this machine.
pub(crate) fn default() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let machine = fs::read_to_string("/proc/meminfo");
    let machine = machine.ok().as_deref().and_then(available_mib);
    let own = fs::read_to_string("/proc/self/cgroup");
    let own = own.ok().and_then(|groups| group_mib(&groups));
    fitting(cores, machine.into_iter().chain(own).min())
}

/// One more than the number of cores, since a VM sometimes waits; no more than fit into the free memory; at least one.
fn fitting(cores: usize, free_mib: Option<u64>) -> usize {
    let room = free_mib.map_or(usize::MAX, |free| room(free, MEMORY_MIB.into()));
    (cores + 1).min(room)
}

/// The memory that the control groups (version 2) of this process have left: the smallest of all.
fn group_mib(groups: &str) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let left = |group: &Path| {
        let read = |name| fs::read_to_string(root.join(group).join(name)).ok();
        left_mib(
            &read("memory.max")?,
            &read("memory.current")?,
            &read("memory.stat")?,
        )
    };
    Path::new(own).ancestors().filter_map(left).min()
}

/// The kernel counts the page cache as used, but frees it when needed.
fn left_mib(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?; // no number for "max"
    let current: u64 = current.trim().parse().ok()?;
    let cached = stat.lines().find_map(|line| line.strip_prefix("file "));
    let cached: u64 = cached.and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
    let used = current.saturating_sub(cached);
    Some(max.saturating_sub(used) >> 20)
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
    fn memory_limits_the_jobs_but_one_always_runs() {
        let free = available_mib("MemTotal: 9 kB\nMemAvailable:    2097152 kB\n").unwrap();
        assert_eq!(free, 2048);
        assert_eq!(room(free, 512), 3);
        assert_eq!(room(100, 512), 1);
        assert_eq!(available_mib("MemTotal: 9 kB\n"), None);
        let jobs = [None, Some(10_000), Some(1400), Some(100)].map(|free| fitting(2, free));
        assert_eq!(jobs, [3, 3, 2, 1]);
    }

    #[test]
    fn cgroup_memory_limits_the_jobs_and_page_cache_counts_as_free() {
        let mib = |count: u64| (count << 20).to_string();
        let stat = format!("anon 7\nfile {}\nkernel 9\n", mib(300));
        assert_eq!(left_mib(&mib(1000), &mib(700), &stat), Some(600));
        assert_eq!(left_mib(&mib(1000), &mib(1700), ""), Some(0));
        assert_eq!(left_mib("max\n", &mib(1), &stat), None);
        assert_eq!(group_mib("4:memory:/old\n"), None);
    }
}
