//! The missing capabilities for a call that failed with `EPERM`.

use crate::sys;

const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The capabilities in force, from `CapEff` in a `status` file of `/proc`.
fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// The capabilities that the call requires.
///
/// `by_id` says that the call looks up an object by its id, which requires more than a load.
fn lacking(capabilities: u64, last_known: u32, by_id: bool) -> String {
    let has = |capability: u32| capabilities >> capability & 1 == 1;
    if has(CAP_SYS_ADMIN) {
        return "the process has CAP_SYS_ADMIN, so something else forbids it: locked memory before Linux 5.11 \
                (`ulimit -l unlimited`), kernel lockdown, a security module or a container"
            .to_owned();
    }
    if by_id {
        return "finding objects of the kernel by their ids takes CAP_SYS_ADMIN; run as root"
            .to_owned();
    }
    if last_known < CAP_BPF {
        return "before Linux 5.8 it takes CAP_SYS_ADMIN; run as root".to_owned();
    }
    let missing: Vec<&str> = [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter_map(|(capability, name)| (!has(capability)).then_some(name))
        .collect();
    if missing.is_empty() {
        "CAP_BPF and CAP_PERFMON are there, but before Linux 5.11 locked memory counts: `ulimit -l unlimited`, \
         or CAP_SYS_RESOURCE to lift the limit"
            .to_owned()
    } else {
        format!(
            "the process lacks {}; run as root, or give it that",
            missing.join(" and ")
        )
    }
}

/// Whether the kernel has no `CAP_BPF`, and the process lacks `CAP_SYS_ADMIN`, which it requires instead.
pub(crate) fn only_administrators() -> bool {
    let (capabilities, last_known) = here();
    last_known < CAP_BPF && capabilities.is_some_and(|set| set >> CAP_SYS_ADMIN & 1 == 0)
}

/// The capabilities of this thread, and the last one that the kernel knows.
fn here() -> (Option<u64>, u32) {
    // Each thread has its own capabilities.
    let status = sys::read_kernel_file("/proc/thread-self/status").unwrap_or_default();
    let last = sys::read_kernel_file("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    (effective(&status), last.trim().parse().unwrap_or(CAP_BPF))
}

/// The reason for an `EPERM`: the capabilities that this thread lacks.
pub(crate) fn missing(by_id: bool) -> String {
    match here() {
        (Some(capabilities), last_known) => lacking(capabilities, last_known, by_id),
        (None, _) => {
            "run as root, or with CAP_BPF and CAP_PERFMON (Linux 5.8 and later)".to_owned()
        }
    }
}

/// The level of kernel lockdown, if there is one: the word in brackets in `none integrity [confidentiality]`.
pub(crate) fn lockdown() -> Lockdown {
    sys::read_kernel_file("/sys/kernel/security/lockdown")
        .map_or(Lockdown::Unknown, |levels| level(&levels))
}

/// The active security modules of the kernel, separated by commas; `None` if securityfs is not mounted.
pub(crate) fn security_modules() -> Option<String> {
    let modules = sys::read_kernel_file("/sys/kernel/security/lsm").ok()?;
    Some(modules.trim().to_owned())
}

/// The state of kernel lockdown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lockdown {
    /// It is off, or the kernel has none.
    Off,
    /// Its level.
    Level(String),
    /// securityfs is not mounted, or the process may not read it.
    Unknown,
}

fn level(levels: &str) -> Lockdown {
    let level = levels
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    match level {
        Some(("none", _)) | None => Lockdown::Off,
        Some((level, _)) => Lockdown::Level(level.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capability_is_named() {
        let both = 1 << CAP_BPF | 1 << CAP_PERFMON;
        assert!(lacking(0, 40, false).contains("lacks CAP_BPF and CAP_PERFMON;"));
        assert!(lacking(1 << CAP_BPF, 40, false).contains("lacks CAP_PERFMON;"));
        assert!(lacking(both, 40, false).contains("ulimit -l"));
        assert!(lacking(both, 40, true).contains("CAP_SYS_ADMIN"));
        assert!(lacking(0, 37, false).contains("before Linux 5.8 it takes CAP_SYS_ADMIN"));
        assert!(lacking(1 << CAP_SYS_ADMIN, 40, false).contains("lockdown"));
    }

    #[test]
    fn capabilities_are_read_from_status() {
        assert_eq!(
            effective("Name:\tx\nCapEff:\t000001ffffffffff\n"),
            Some(0x1ff_ffff_ffff)
        );
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn lockdown_level_is_the_word_in_brackets() {
        assert_eq!(level("[none] integrity confidentiality\n"), Lockdown::Off);
        let confidentiality = Lockdown::Level("confidentiality".to_owned());
        let levels = "none integrity [confidentiality]\n";
        assert_eq!(level(levels), confidentiality);
        let kernel = sys::fake::kernel(|_| None);
        assert_eq!(lockdown(), Lockdown::Unknown);
        kernel.file("/sys/kernel/security/lockdown", levels);
        assert_eq!(lockdown(), confidentiality);
    }

    #[test]
    fn before_5_8_only_administrators_load_programs() {
        for (effective, last, expected) in [
            ("0000000000000000", "37", true),
            ("0000000000200000", "37", false),
            ("0000000000000000", "40", false),
        ] {
            let kernel = sys::fake::kernel(|_| None);
            kernel.file(
                "/proc/thread-self/status",
                format!("CapEff:\t{effective}\n"),
            );
            kernel.file("/proc/sys/kernel/cap_last_cap", last);
            assert_eq!(only_administrators(), expected, "{effective} {last}");
        }
    }
}
