//! System calls: the only `unsafe` code of this crate.
//!
//! Everything that depends on the running kernel goes through [`call`], and in unit tests to a fake kernel.
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
    ProgLoad, knows_targets, link_create, link_create_multi, log_text, prog_load, prog_test_run,
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

/// `ENOTSUPP` of the kernel, which libc does not define.
pub(crate) const ENOTSUPP: i32 = 524;

/// The length of names in the kernel, including the NUL.
pub(crate) const BPF_OBJ_NAME_LEN: usize = 16;

/// Plain old data: any bytes are a valid value, and there is no padding.
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

/// The bytes of a slice.
pub(crate) fn bytes_of_slice<T: Pod>(values: &[T]) -> &[u8] {
    // SAFETY: `T: Pod` has no padding, and an array adds none, so all of its bytes are initialised.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The value with these bytes; `None` if their number is not the size of `T`.
pub(crate) fn from_bytes<T: Pod>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the length is that of `T`, any bytes are a valid `T: Pod`, and the read needs no alignment.
    (bytes.len() == size_of::<T>()).then(|| unsafe { ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// Calls `bpf(2)`. The verifier returns `EAGAIN` if a signal is pending: then the call is repeated a few times.
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

/// A call that returns a new file descriptor, which the kernel makes close-on-exec.
fn bpf_fd<A: Attr>(cmd: bpf_cmd, attr: &mut A) -> io::Result<OwnedFd> {
    let fd = bpf(cmd, attr)?;
    // SAFETY: the kernel has just made this descriptor for us, so nothing else owns it.
    unsafe { new_fd(fd) }
}

/// The new descriptor of a call, duplicated if it is 0 to 2: other code writes to these, and `bpf(2)` takes 0 for none.
///
/// # Safety
///
/// `fd` must be the new descriptor that a call returned, and have no other owner.
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

/// The name of an object for the kernel: fifteen bytes at most, with characters that it does not allow replaced.
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

/// Raises the limit on locked memory, which before 5.11 limits BPF allocations: removes it if the process may, else
/// raises the soft limit to the hard one.
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

/// Runs a call that allocates memory in the kernel. On `EPERM`, which before 5.11 may mean the limit on locked memory,
/// raises the limit and repeats the call.
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
    // It fails only for an invalid address.
    let _ = syscall(Syscall::Uname(&mut uts));
    // SAFETY: `release` is NUL-terminated: the kernel says so, and it was zeroed before.
    unsafe { CStr::from_ptr(uts.release.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

/// The page size in bytes.
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
