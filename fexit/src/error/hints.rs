//! What an answer of the kernel means, for the text of an error.

use std::io;

use super::verifier_log;
use crate::btf::core_spec::CoreRelocationInfo;
use crate::compat::TooNew;
use crate::sys::ENOTSUPP;

/// What to do when a name in a BPF file system cannot be made or opened.
pub(crate) fn pin_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EEXIST) => "; choose a free name, or remove what is there",
        Some(libc::ENOENT) => "; nothing is pinned under that name, or its folder does not exist",
        Some(libc::EACCES) => "; it is no object of BPF, or its file permissions forbid it",
        Some(libc::EPERM) => {
            "; pins live in a BPF file system (mount -t bpf bpf /sys/fs/bpf), and take CAP_BPF or root"
        }
        _ => "",
    }
}

/// What a kernel does not have, as a list.
pub(super) fn quoted(missing: &[CoreRelocationInfo]) -> String {
    let names: Vec<_> = missing.iter().map(|need| format!("`{need}`")).collect();
    names.join(", ")
}

/// What a kernel is too old for, as a list.
pub(super) fn list(too_new: &[TooNew]) -> String {
    let all: Vec<_> = too_new.iter().map(ToString::to_string).collect();
    all.join(" and ")
}

/// What the verifier says, or if that is nothing, what its error number means.
pub(super) fn why_refused(error: &io::Error, log: &str) -> String {
    if let Some(reason) = verifier_log::summary(log) {
        return format!("; the verifier says: {reason}");
    }
    let meaning = match error.raw_os_error() {
        Some(libc::EINVAL) => {
            "most likely this kernel does not know a kind of program, a target or a flag that it needs, or is built \
             without it"
        }
        Some(libc::E2BIG) => {
            "it has more instructions than are allowed, or uses what this kernel does not know"
        }
        Some(libc::ENOMEM) => "the kernel has no memory for it",
        Some(ENOTSUPP) => {
            "the JIT compiler is off (`sysctl net.core.bpf_jit_enable=1`), or cannot compile it"
        }
        _ => return String::new(),
    };
    format!("; the verifier says nothing: {meaning}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ProgramError;

    #[test]
    fn where_the_verifier_is_silent_the_error_is_explained() {
        let silent = |errno| ProgramError::LoadError {
            name: "p".into(),
            io_error: io::Error::from_raw_os_error(errno),
            verifier_log: "processed 0 insns (limit 1000000)\n".into(),
        };
        assert!(silent(ENOTSUPP).to_string().contains("bpf_jit_enable"));
        assert!(silent(libc::EINVAL).to_string().contains("does not know"));
        assert!(silent(libc::EIO).to_string().ends_with("(os error 5)"));
    }
}
