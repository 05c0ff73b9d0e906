//! Perf events for records of BPF programs, and waiting for descriptors.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::attr::PerfEventAttr;
use super::call::{Syscall, read_kernel_file, syscall};

/// The perf event type of kprobes.
const KPROBE: &str = "/sys/bus/event_source/devices/kprobe/type";

/// An event on one CPU that fires when a BPF program calls `bpf_perf_event_output`.
pub(crate) fn bpf_output_event(cpu: u32) -> io::Result<OwnedFd> {
    const PERF_TYPE_SOFTWARE: u32 = 1;
    const PERF_COUNT_SW_BPF_OUTPUT: u64 = 10;
    const PERF_SAMPLE_RAW: u64 = 1 << 10;
    let attr = PerfEventAttr {
        kind: PERF_TYPE_SOFTWARE,
        size: u32::try_from(size_of::<PerfEventAttr>()).unwrap_or(0),
        config: PERF_COUNT_SW_BPF_OUTPUT,
        sample_period: 1,
        sample_type: PERF_SAMPLE_RAW,
        wakeup_events: 1,
        ..PerfEventAttr::default()
    };
    perf_event_open(&attr, i32::try_from(cpu).unwrap_or(i32::MAX))
}

/// Whether this name of a kernel function is ambiguous; `None` if the kernel gives no answer.
///
/// It requests a kprobe at an offset that no function has. The kernel counts the functions with the name first, then
/// refuses the offset, so that no kprobe is set.
pub(crate) fn names_several(function: &str) -> Option<bool> {
    let kind = read_kernel_file(KPROBE).ok()?;
    let name = CString::new(function).ok()?;
    let attr = PerfEventAttr {
        kind: kind.trim().parse().ok()?,
        size: u32::try_from(size_of::<PerfEventAttr>()).unwrap_or(0),
        config1: name.as_ptr() as u64,
        config2: i32::MAX as u64,
        ..PerfEventAttr::default()
    };
    match perf_event_open(&attr, 0).err()?.raw_os_error()? {
        libc::EADDRNOTAVAIL => Some(true),
        // The kernel refused the offset. (`ENOENT` is also the error for an unknown name.)
        libc::EINVAL | libc::ENOENT | libc::EILSEQ | libc::ERANGE => Some(false),
        _ => None,
    }
}

fn perf_event_open(attr: &PerfEventAttr, cpu: i32) -> io::Result<OwnedFd> {
    let fd = syscall(Syscall::PerfEventOpen { attr, cpu })?;
    // SAFETY: the kernel has just made this descriptor for us, so nothing else owns it.
    unsafe { super::new_fd(fd) }
}

/// Waits until one of the descriptors can be read; `false` at the timeout.
pub(crate) fn wait_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<bool> {
    let mut polled: Vec<libc::pollfd> = fds
        .iter()
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // Round up: callers would spin if it returned too early.
    let millis = timeout.map_or(-1, |t| {
        i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
    });
    // SAFETY: the pointer and the number are those of one live slice.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, millis) };
    match ready {
        0.. => Ok(ready > 0),
        _ => Err(io::Error::last_os_error()),
    }
}
