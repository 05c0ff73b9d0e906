//! A workaround for a kernel bug that makes one scenario break the next.

use std::fs;

use anyhow::{Context as _, Result};
use fexit::KernelVersion;

const PERF_MLOCK: &str = "/proc/sys/kernel/perf_event_mlock_kb";
const PERF_MLOCK_KB: &str = "1048576";

/// Raises `perf_event_mlock_kb` before 5.6, so that no scenario exceeds it.
///
/// Those kernels count the pages of perf buffers beyond that limit wrongly: the user's count of locked memory can drop
/// below zero, and no map can be created until the buffer is freed.
pub(crate) fn raise_before_5_6() -> Result<()> {
    if KernelVersion::current() < KernelVersion::new(5, 6, 0) {
        fs::write(PERF_MLOCK, PERF_MLOCK_KB).with_context(|| format!("cannot set {PERF_MLOCK}"))?;
    }
    Ok(())
}
