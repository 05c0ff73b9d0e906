//! Answers for the kernel, for the thread that set them.
use std::cell::RefCell;
use std::ffi::c_long;
use std::io;

use aya_obj::generated::bpf_cmd;

type Answer = Box<dyn FnMut(bpf_cmd) -> Option<io::Result<c_long>>>;
thread_local!(static KERNEL: RefCell<Option<Answer>> = const { RefCell::new(None) });

pub(super) fn answer(cmd: bpf_cmd) -> Option<io::Result<c_long>> {
    KERNEL.with_borrow_mut(|kernel| kernel.as_mut().and_then(|answer| answer(cmd)))
}

/// From now on `answer` stands for the kernel; `None` from it lets the call through.
pub(crate) fn kernel(answer: impl FnMut(bpf_cmd) -> Option<io::Result<c_long>> + 'static) {
    KERNEL.set(Some(Box::new(answer)));
}

/// A descriptor for a made-up object: `/dev/null`, so that closing it is real.
pub(crate) fn fd() -> io::Result<c_long> {
    use std::os::fd::IntoRawFd;
    Ok(std::fs::File::open("/dev/null")?.into_raw_fd().into())
}

pub(crate) fn errno(errno: i32) -> io::Result<c_long> {
    Err(io::Error::from_raw_os_error(errno))
}
