//! Whether the kernel is one on which scenarios can run side by side.

use std::fs;

use fexit::KernelVersion;
use rustix::system::uname;

/// Up to 5.9 a program must not be detached while another process is inside the traced function: the kernel frees the
/// trampoline under it, and may crash. Source: kernel commit e21aa341785c ("bpf: Fix fexit trampoline.").
const FROM: KernelVersion = KernelVersion::new(5, 10, 0);

/// Where a kernel that can be switched tells how it is preempted.
const MODE: &str = "/sys/kernel/debug/sched/preempt";

/// Whether nothing that one process does makes the program of another miss a call.
pub(crate) fn is_safe() -> bool {
    let mode = fs::read_to_string(MODE).ok();
    let version = uname();
    KernelVersion::current() >= FROM
        && !is_preemptible(&version.version().to_string_lossy(), mode.as_deref())
}

/// Whether a process can lose the CPU inside a program. Until it has it back, that program is left out of all other
/// calls on that CPU, taken for a recursion.
fn is_preemptible(version: &str, mode: Option<&str>) -> bool {
    let Some(mode) = mode.filter(|_| version.contains("PREEMPT_DYNAMIC")) else {
        return version.contains("PREEMPT");
    };
    !["(none)", "(voluntary)"]
        .iter()
        .any(|harmless| mode.contains(harmless))
}

#[cfg(test)]
mod tests {
    use super::is_preemptible;

    #[test]
    fn what_cannot_be_told_counts_as_preemptible() {
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
