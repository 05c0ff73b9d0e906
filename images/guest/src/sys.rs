//! Unsafe calls: a `BPF_TRACE_KPROBE_MULTI` link (5.18), which aya does not create; a program without an object; closing
//! standard input; own mounts.
#![allow(unsafe_code)] // bpf(2), unshare(2)

use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::ptr;

use rustix::thread::{UnshareFlags, unshare_unsafe};

// From include/uapi/linux/bpf.h.
const BPF_PROG_LOAD: u32 = 5;
const BPF_LINK_CREATE: u32 = 28;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;
const BPF_PROG_TYPE_KPROBE: u32 = 2;
const BPF_TRACE_KPROBE_MULTI: u32 = 42;
const BPF_F_KPROBE_MULTI_RETURN: u32 = 1;

/// `return 0`.
const PROGRAM: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// The member of `union bpf_attr` for BPF_PROG_LOAD, up to the last used field.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The member for BPF_LINK_CREATE with `kprobe_multi`.
#[repr(C)]
#[derive(Default)]
struct Link {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    multi_flags: u32,
    count: u32,
    symbols: u64,
    addresses: u64,
    cookies: u64,
}

/// Closes standard input. This process must not read it afterwards.
pub(crate) fn close_stdin() {
    // SAFETY: std does not own descriptor 0, and the caller's process uses it no more.
    drop(unsafe { OwnedFd::from_raw_fd(0) });
}

/// Gives this process its own list of mounts.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: descriptors stay shared, the only flag that concerns memory safety.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    Ok(())
}

/// Loads a program that returns 0, and closes it.
///
/// # Errors
///
/// The error of bpf(2).
pub fn load_nothing() -> io::Result<()> {
    load(BPF_PROG_TYPE_SOCKET_FILTER, 0).map(drop)
}

/// Attaches a program that does nothing to the return of `function`, until the link is closed.
///
/// # Errors
///
/// The error of bpf(2): `EOPNOTSUPP` if the kernel is built without FPROBE.
pub(crate) fn attach_kretprobe_multi(function: &CStr) -> io::Result<OwnedFd> {
    let program = load(BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI)?;
    let symbols = [function.as_ptr()];
    bpf(
        BPF_LINK_CREATE,
        &mut Link {
            prog_fd: program.as_raw_fd().cast_unsigned(),
            attach_type: BPF_TRACE_KPROBE_MULTI,
            multi_flags: BPF_F_KPROBE_MULTI_RETURN,
            count: 1,
            symbols: symbols.as_ptr().addr() as u64,
            ..Link::default()
        },
    )
}

fn load(prog_type: u32, expected_attach_type: u32) -> io::Result<OwnedFd> {
    bpf(
        BPF_PROG_LOAD,
        &mut Load {
            prog_type,
            insn_cnt: 2,
            insns: PROGRAM.as_ptr().addr() as u64,
            license: c"GPL".as_ptr().addr() as u64,
            expected_attach_type,
            ..Load::default()
        },
    )
}

/// One of the two commands above: both return a descriptor.
fn bpf<A>(command: u32, attr: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is a live struct of the size that is passed; what its addresses point to lives in the caller or for
    // ever, and is as long as the counts in `attr` say.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<A>()) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us, so nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
