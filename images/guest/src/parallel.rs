//! Whether scenarios can run in parallel on this kernel.

use std::fs;

use fexit::Btf;
use rustix::system::uname;

/// Without this function (5.12, and stable releases of 5.10 and later) a program must not be detached while another process
/// is inside the traced function: the kernel frees the trampoline in use, and may crash. Source: kernel commit
/// e21aa341785c ("bpf: Fix fexit trampoline.").
const FREES_LATER: &str = "__bpf_tramp_image_put_rcu";

/// A kernel with PREEMPT_DYNAMIC reports its preemption mode here.
const PREEMPT_MODE: &str = "/sys/kernel/debug/sched/preempt";

/// Whether no process can make a program of another process miss a call.
pub(crate) fn is_safe() -> bool {
    let mode = fs::read_to_string(PREEMPT_MODE).ok();
    let version = uname();
    Btf::from_sys_fs().is_ok_and(|btf| btf.has_function(FREES_LATER))
        && !is_preemptible(&version.version().to_string_lossy(), mode.as_deref())
}

/// Whether the scheduler can preempt a process inside a BPF program. Until that process runs again, the recursion check
/// skips the program for every other call on that CPU.
fn is_preemptible(version: &str, mode: Option<&str>) -> bool {
    let Some(mode) = mode.filter(|_| version.contains("PREEMPT_DYNAMIC")) else {
        return version.contains("PREEMPT");
    };
    !["(none)", "(voluntary)"]
        .iter()
        .any(|not_preemptible| mode.contains(not_preemptible))
}

#[cfg(test)]
mod tests {
    use super::is_preemptible;

    #[test]
    fn unknown_mode_counts_as_preemptible() {
        for (version, mode, preemptible) in [
            ("#1 SMP Debian 5.10.262-1 (2026-08-10)", None, false),
            ("#1 SMP PREEMPT Debian", None, true),
            ("#1 SMP PREEMPT_RT", Some("none (voluntary) full\n"), true),
            ("#1 SMP PREEMPT_DYNAMIC", None, true),
            (
                "#1 SMP PREEMPT_DYNAMIC",
                Some("(none) voluntary full\n"),
                false,
            ),
            (
                "#1 SMP PREEMPT_DYNAMIC",
                Some("none (voluntary) full\n"),
                false,
            ),
            (
                "#1 SMP PREEMPT_DYNAMIC",
                Some("none voluntary (full)\n"),
                true,
            ),
            ("#1 SMP PREEMPT_DYNAMIC", Some("full (lazy)\n"), true),
        ] {
            assert_eq!(
                is_preemptible(version, mode),
                preemptible,
                "{version} {mode:?}"
            );
        }
    }
}
