//! System calls and files of the running kernel, which unit tests replace by a fake kernel.

use std::borrow::Cow;
use std::ffi::{c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr;

use aya_obj::generated::bpf_cmd;

use super::attr::{Attr, PerfEventAttr};

/// A system call. In a unit test a fake kernel answers it, see [`super::fake`].
#[derive(Debug)]
pub(super) enum Syscall<'a> {
    Bpf {
        cmd: bpf_cmd,
        attr: &'a mut dyn Attr,
    },
    PerfEventOpen {
        attr: &'a PerfEventAttr,
        cpu: c_int,
    },
    Mmap(Mmap<'a>),
    SetMemlock(libc::rlimit),
    GetMemlock(&'a mut libc::rlimit),
    Uname(&'a mut libc::utsname),
}

/// A new mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mmap<'a> {
    pub(super) fd: BorrowedFd<'a>,
    /// A proposal, for the kernel chooses the address; 0 if there is none.
    pub(super) address: usize,
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) protection: c_int,
    pub(super) flags: c_int,
}

/// Makes a system call. Returns a descriptor, an address or 0, as the kernel does.
pub(super) fn syscall(call: Syscall<'_>) -> io::Result<c_long> {
    if cfg!(fuzzing) && matches!(call, Syscall::Bpf { .. } | Syscall::Mmap(_)) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    #[cfg(test)]
    return super::fake::syscall(call);
    #[cfg(not(test))]
    to_kernel(call)
}

/// A cached result about the running kernel. It lives as long as the process; in a unit test as long as the thread,
/// which has its own fake kernel.
macro_rules! once_per_kernel {
    ($type:ty, $new:expr) => {{
        #[cfg(not(test))]
        {
            static FOUND: $type = $new;
            &FOUND
        }
        #[cfg(test)]
        {
            thread_local!(static FOUND: &'static $type = Box::leak(Box::new($new)));
            FOUND.with(|found| *found)
        }
    }};
}
pub(crate) use once_per_kernel;

/// The path of a file of `/proc`, `/sys` or `/boot`; in a unit test, in the folder of the fake kernel.
pub(crate) fn kernel_file<P: AsRef<Path> + ?Sized>(path: &P) -> Cow<'_, Path> {
    #[cfg(test)]
    return super::fake::file(path.as_ref()).into();
    #[cfg(not(test))]
    path.as_ref().into()
}

/// The content of such a file.
pub(crate) fn read_kernel_file<P: AsRef<Path> + ?Sized>(path: &P) -> io::Result<String> {
    std::fs::read_to_string(kernel_file(path))
}

pub(super) fn to_kernel(call: Syscall<'_>) -> io::Result<c_long> {
    let result = match call {
        Syscall::Bpf { cmd, attr } => {
            let size = size_of_val(attr);
            // A pointer to a trait object would pass two arguments, and its vtable as the size.
            let attr: *mut c_void = ptr::from_mut(attr).cast();
            // SAFETY: `attr` is a live struct of the size that is passed. The pointers in it were made by the callers
            // in `sys` from slices that outlive the call, each with its length.
            unsafe { libc::syscall(libc::SYS_bpf, cmd as u32, attr, size) }
        }
        Syscall::PerfEventOpen { attr, cpu } => {
            const PERF_FLAG_FD_CLOEXEC: u64 = 8;
            let (any_process, no_group) = (-1, -1);
            // SAFETY: `attr` is a live struct of the size that it names; a name in it is a live C string of the
            // caller's.
            unsafe {
                libc::syscall(
                    libc::SYS_perf_event_open,
                    ptr::from_ref(attr),
                    any_process,
                    cpu,
                    no_group,
                    PERF_FLAG_FD_CLOEXEC,
                )
            }
        }
        Syscall::Mmap(map) => {
            let offset = libc::off_t::try_from(map.offset).map_err(io::Error::other)?;
            let fd = map.fd.as_raw_fd();
            // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
            let start = unsafe {
                libc::mmap(
                    ptr::without_provenance_mut(map.address),
                    map.len,
                    map.protection,
                    map.flags,
                    fd,
                    offset,
                )
            };
            // `MAP_FAILED` is -1.
            start as c_long
        }
        Syscall::SetMemlock(limit) => {
            // SAFETY: `limit` is a live struct of the type that the call reads.
            unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }.into()
        }
        Syscall::GetMemlock(limit) => {
            // SAFETY: `limit` is a live struct of the type that the call writes.
            unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, limit) }.into()
        }
        // SAFETY: the struct is a live one of the type that the call writes.
        Syscall::Uname(to) => unsafe { libc::uname(to) }.into(),
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}
