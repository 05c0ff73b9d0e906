//! Answers for the kernel, for the thread that set them.

use std::cell::RefCell;
use std::ffi::c_long;
use std::io;

use aya_obj::generated::bpf_cmd;

use crate::Feature;

type Answer = Box<dyn FnMut(bpf_cmd) -> Option<io::Result<c_long>>>;
thread_local!(static KERNEL: RefCell<Option<Answer>> = const { RefCell::new(None) });

pub(super) fn answer(cmd: bpf_cmd) -> Option<io::Result<c_long>> {
    KERNEL.with_borrow_mut(|kernel| kernel.as_mut().and_then(|answer| answer(cmd)))
}

thread_local!(static LACKING: RefCell<Vec<Feature>> = const { RefCell::new(Vec::new()) });

/// Whether the kernel that answers lacks `feature`; `None` when the real one answers.
pub(crate) fn lacks(feature: Feature) -> Option<bool> {
    let faked = KERNEL.with_borrow(Option::is_some);
    faked.then(|| LACKING.with_borrow(|lacking| lacking.contains(&feature)))
}

/// What the kernel that answers lacks; else it has everything.
pub(crate) fn lacking(features: &[Feature]) {
    LACKING.set(features.to_vec());
}

/// From now on `answer` replaces the kernel; if it returns `None`, the call goes to the kernel.
pub(crate) fn kernel(answer: impl FnMut(bpf_cmd) -> Option<io::Result<c_long>> + 'static) {
    KERNEL.set(Some(Box::new(answer)));
}

/// A descriptor for a made-up object: `/dev/null`, so that closing it is real.
pub(crate) fn fd() -> io::Result<c_long> {
    use std::os::fd::IntoRawFd;
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    Ok(file.into_raw_fd().into())
}

pub(crate) fn errno(errno: i32) -> io::Result<c_long> {
    Err(io::Error::from_raw_os_error(errno))
}
