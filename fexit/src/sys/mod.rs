//! `bpf(2)` and its neighbours: the one place of this crate that says `unsafe`.
//!
//! Whatever depends on the running kernel goes through [`call`], and in unit tests to a fake kernel.
#![allow(unsafe_code)]

pub(crate) mod attr;
mod call;
pub(crate) mod cpus;
#[cfg(test)]
pub(crate) mod fake;
mod map;
pub(crate) mod mmap;
pub(crate) mod object;
pub(crate) mod perf;
pub(crate) mod perf_ring;
mod program;
pub(crate) mod ring;

pub(crate) use call::{kernel_file, once_per_kernel, read_kernel_file};
pub(crate) use map::{
    MapCreate, MapFd, map_create, map_delete, map_freeze, map_lookup, map_next_key, map_update,
};
pub(crate) use object::{
    IdKind, btf_info, btf_load, fd_by_id, kernel_btf, link_info, map_info, next_id, obj_get,
    obj_pin, prog_functions, prog_info,
};
pub use program::TestRun;
pub(crate) use program::{
    ProgLoad, knows_targets, link_create, link_create_multi, prog_load, prog_test_run,
    raw_tracepoint_open,
};

use std::ffi::{CStr, c_long};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use aya_obj::generated::bpf_cmd;

use attr::Attr;
use call::{Syscall, syscall};

/// `ENOTSUPP`, the kernel's own "not supported", has no name in libc.
pub(crate) const ENOTSUPP: i32 = 524;

/// Lengths of names in the kernel, the closing NUL included.
pub(crate) const BPF_OBJ_NAME_LEN: usize = 16;

/// Plain old data: a type that any bytes are a valid value of, and that has no padding.
///
/// # Safety
///
/// Every bit pattern must be valid, there must be no padding and no pointers.
pub unsafe trait Pod: Copy + 'static {}

macro_rules! pod {
    ($($t:ty),+) => { $(
        // SAFETY: an integer has no padding and no invalid bit pattern.
        unsafe impl Pod for $t {}
    )+ };
}
pod!(
    u8, i8, u16, i16, u32, i32, u64, i64, u128, i128, usize, isize
);

// SAFETY: an array adds no padding between its elements.
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {}

/// The bytes of a value.
pub(crate) fn bytes_of<T: Pod>(value: &T) -> &[u8] {
    // SAFETY: `T: Pod` has no padding, so all `size_of::<T>()` bytes are initialised.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The bytes of values in a row.
pub(crate) fn bytes_of_slice<T: Pod>(values: &[T]) -> &[u8] {
    // SAFETY: `T: Pod` has no padding, and an array adds none, so all of its bytes are initialised.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The value that `bytes` hold; `None` when their number is not the size of `T`.
pub(crate) fn from_bytes<T: Pod>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the length is that of `T`, any bytes are a valid `T: Pod`, and the read needs no alignment.
    (bytes.len() == size_of::<T>()).then(|| unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// Makes a call of `bpf(2)`. The verifier gives up with `EAGAIN` when a signal is pending: ask again, but not for ever.
fn bpf<A: Attr>(cmd: bpf_cmd, attr: &mut A) -> io::Result<c_long> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let result = syscall(Syscall::Bpf { cmd, attr });
        let error = result.as_ref().err().and_then(io::Error::raw_os_error);
        let again = matches!(error, Some(libc::EINTR | libc::EAGAIN));
        if !again || attempts == 10 {
            return result;
        }
    }
}

/// A call whose result is a new file descriptor. The kernel makes all of its descriptors close-on-exec.
fn bpf_fd<A: Attr>(cmd: bpf_cmd, attr: &mut A) -> io::Result<OwnedFd> {
    let fd = bpf(cmd, attr)?;
    // SAFETY: the kernel has just made this descriptor for us, so nothing else owns it.
    unsafe { new_fd(fd) }
}

/// The descriptor that a call of the kernel has made, never one of 0 to 2: where those are closed, others write to them,
/// and `bpf(2)` takes 0 for none.
///
/// # Safety
///
/// `fd` must be what a call returned that made a descriptor, which nothing else owns.
unsafe fn new_fd(fd: c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(|_| io::Error::other("the call returned no descriptor"))?;
    // SAFETY: the caller's promise.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if fd.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(fd);
    }
    // SAFETY: `fd` is open, and the call touches no memory.
    let high = unsafe {
        libc::fcntl(
            fd.as_raw_fd(),
            libc::F_DUPFD_CLOEXEC,
            libc::STDERR_FILENO + 1,
        )
    };
    if high < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(high) })
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn addr<T>(slice: &[T]) -> u64 {
    if slice.is_empty() {
        0
    } else {
        slice.as_ptr() as u64
    }
}

fn addr_mut<T>(slice: &mut [T]) -> u64 {
    if slice.is_empty() {
        0
    } else {
        slice.as_mut_ptr() as u64
    }
}

/// What the kernel calls an object: cut to fifteen bytes, other characters than it allows replaced.
pub(crate) fn object_name(name: &str) -> [u8; BPF_OBJ_NAME_LEN] {
    let mut out = [0; BPF_OBJ_NAME_LEN];
    for (to, from) in out.iter_mut().zip(name.bytes()).take(BPF_OBJ_NAME_LEN - 1) {
        *to = if from.is_ascii_alphanumeric() || from == b'_' || from == b'.' {
            from
        } else {
            b'_'
        };
    }
    out
}

/// Lifts the limit on locked memory, which before 5.11 bounds what BPF may allocate: altogether if the process may, else
/// as far as it may.
fn raise_memlock() -> io::Result<()> {
    set_memlock(libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    })
    .or_else(|error| {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        let known = syscall(Syscall::GetMemlock(&mut limit)).is_ok();
        if !known || limit.rlim_cur == limit.rlim_max {
            return Err(error);
        }
        set_memlock(libc::rlimit {
            rlim_cur: limit.rlim_max,
            ..limit
        })
    })
}

fn set_memlock(limit: libc::rlimit) -> io::Result<()> {
    syscall(Syscall::SetMemlock(limit)).map(drop)
}

/// Runs a call that allocates in the kernel; when the limit on locked memory may be in its way, lifts that and tries
/// again. From 5.11 on the limit does not count, and `EPERM` means what it says.
pub(crate) fn with_memlock<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match call() {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && raise_memlock().is_ok() => {
            call()
        }
        other => other,
    }
}

/// `uname -r`.
pub(crate) fn kernel_release() -> String {
    // SAFETY: all-zero is a valid `utsname`.
    let mut uts: libc::utsname = unsafe { std::mem::zeroed() };
    // It fails for a bad address only.
    let _ = syscall(Syscall::Uname(&mut uts));
    // SAFETY: `release` is NUL-terminated: the kernel says so, and it was zeroed before.
    unsafe { CStr::from_ptr(uts.release.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

/// Bytes of a page of memory.
pub(crate) fn page_size() -> usize {
    // SAFETY: `sysconf` has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_and_cleaned() {
        assert_eq!(&object_name("a-b/c"), b"a_b_c\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&object_name("0123456789abcdefgh"), b"0123456789abcde\0");
    }

    #[test]
    fn bytes_of_the_wrong_length_are_no_value() {
        assert_eq!(
            from_bytes::<u32>(&[1, 0, 0, 0]),
            Some(u32::from_ne_bytes([1, 0, 0, 0]))
        );
        assert_eq!(from_bytes::<u32>(&[1, 0, 0]), None);
        assert_eq!(
            bytes_of(&[1u16, 2]),
            [1u16.to_ne_bytes(), 2u16.to_ne_bytes()].concat()
        );
    }
}
