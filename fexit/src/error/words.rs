//! From an answer of the kernel to words.

use std::io;

use crate::btf::access::CoreNeed;
use crate::sys::ENOTSUPP;

/// What to do when a name in a BPF file system cannot be made or opened.
pub(super) fn pin_hint(error: &io::Error) -> &'static str {
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
pub(super) fn quoted(missing: &[CoreNeed]) -> String {
    let names: Vec<_> = missing.iter().map(|need| format!("`{need}`")).collect();
    names.join(", ")
}

/// The lines of a verifier log that say why: the last ones, without source lines and figures.
fn log_tail(log: &str) -> String {
    const LINES: usize = 3;
    const OTHER: [&str; 7] = [
        ";",
        "Unrecognized arg#",
        "func#",
        "processed ",
        "verification time",
        "stack depth",
        "peak_states",
    ];
    let tells = |line: &&str| {
        !line.is_empty() && !OTHER.iter().any(|start| line.starts_with(start)) && !is_state(line)
    };
    let lines: Vec<&str> = log.lines().filter(tells).collect();
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    tail.join(" | ")
}

/// What the verifier says, or if that is nothing, what its error stands for.
pub(super) fn why_refused(error: &io::Error, log: &str) -> String {
    let tail = log_tail(log);
    if !tail.is_empty() {
        return format!("; the verifier says: {tail}");
    }
    let meaning = match error.raw_os_error() {
        Some(libc::EINVAL) => {
            "most likely this kernel does not know a kind of program, a target or a flag that it needs"
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

/// What registers hold before an instruction: `0: R1=ctx() R10=fp0`.
fn is_state(line: &str) -> bool {
    let after = line.split_once(": ").map_or("", |(_, after)| after);
    let number = after.strip_prefix('R').unwrap_or_default();
    number.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ProgramError;

    #[test]
    fn the_end_of_the_verifier_log_is_part_of_the_message() {
        let error = ProgramError::LoadError {
            name: "p".into(),
            io_error: io::Error::from_raw_os_error(libc::EACCES),
            verifier_log:
                "func#0 @0\nUnrecognized arg#0 type PTR\n0: (b7) r0 = 1\n1: R0=1 R1=ctx() R10=fp0\n1: (79) r1 = *(u64 *)(r1 +80)\ninvalid bpf_context access \
                           off=80 size=8\nprocessed 2 insns (limit 1000000)\n"
                    .into(),
        };
        let text = error.to_string();
        assert!(
            text.contains("program `p`") && text.contains("Permission denied"),
            "{text}"
        );
        assert!(
            text.contains("invalid bpf_context access off=80 size=8"),
            "{text}"
        );
        for noise in ["processed", "arg#0", "R10=fp0"] {
            assert!(!text.contains(noise), "{text}");
        }
    }

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
