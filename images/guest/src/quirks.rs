//! What a kernel gets wrong, so that one scenario would spoil it for the next.

use std::fs;

use anyhow::{Context as _, Result};
use fexit::KernelVersion;

const PERF_MLOCK: &str = "/proc/sys/kernel/perf_event_mlock_kb";
const PERF_MLOCK_KB: &str = "1048576";

/// Steps around what this kernel is known for.
///
/// Before 5.6 pages of perf buffers beyond `perf_event_mlock_kb` are counted wrongly: the user's count of locked memory
/// can fall below zero, and until the buffer is gone no map can be made. So no scenario gets beyond it.
pub(crate) fn step_around() -> Result<()> {
    if KernelVersion::current() < KernelVersion::new(5, 6, 0) {
        fs::write(PERF_MLOCK, PERF_MLOCK_KB).with_context(|| format!("cannot set {PERF_MLOCK}"))?;
    }
    Ok(())
}
