//! Hints in error messages: what an error number or a verifier log means.

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

/// The types and fields that a kernel lacks, as a list.
pub(super) fn quoted(missing: &[CoreRelocationInfo]) -> String {
    let names: Vec<_> = missing.iter().map(|need| format!("`{need}`")).collect();
    names.join(", ")
}

/// The features that a kernel is too old for, as a list.
pub(super) fn list(too_new: &[TooNew]) -> String {
    let all: Vec<_> = too_new.iter().map(ToString::to_string).collect();
    all.join(" and ")
}

/// The verifier's reason, or if it gave none, the meaning of the error number.
pub(super) fn why_refused(error: &io::Error, log: &str) -> String {
    if let Some(reason) = verifier_log::summary(log) {
        return format!("; the verifier says: {reason}");
    }
    let meaning = match error.raw_os_error() {
        Some(libc::EINVAL) => {
            "most likely this kernel does not know a program type, a target or a flag that it uses, or is built \
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
    fn error_number_has_a_hint_if_the_verifier_gave_no_reason() {
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
