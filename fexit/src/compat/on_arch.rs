//! What architectures have later than x86-64, apart from the features of this library.

use crate::arch::Arch;
use crate::kernel_version::KernelVersion;

/// The name of calls of kernel functions in the table.
pub(crate) const KFUNC_CALL: &str = "kfunc";

/// Section or instruction, the first release of arm64 that has it, and its commit.
#[rustfmt::skip]
const ON_ARM64: [(&str, (u16, u16), &str); 8] = [
    (KFUNC_CALL, (5, 18), "b5e975d256db"),
    ("an atomic operation other than adding", (5, 18), "1902472b4fa9"),
    ("struct_ops", (6, 0), "efc9909fdce0"), // trampolines
    ("lsm_cgroup", (6, 4), "2aa6ac03516d"), // trampolines on functions of the kernel
    ("a cast between address spaces", (6, 10), "4dd31243e308"),
    ("kprobe.multi", (6, 14), "4346ba160409"), // fprobe without rethook, which arm64 lacks
    ("kretprobe.multi", (6, 14), "4346ba160409"),
    ("kprobe.session", (6, 14), "4346ba160409"),
];

/// The first release that has this section or instruction on an architecture, and its commit; `on_x86_64` has those of
/// x86-64. For others than these two nothing was collected: they are taken for x86-64.
pub(crate) fn first_release(
    arch: Arch,
    name: &str,
    on_x86_64: (KernelVersion, &'static str),
) -> (KernelVersion, &'static str) {
    let later = ON_ARM64
        .iter()
        .filter(|row| arch == Arch::Arm64 && row.0 == name)
        .map(|&(_, (major, minor), commit)| (KernelVersion::new(major, minor, 0), commit));
    later
        .chain([on_x86_64])
        .max_by_key(|&(release, _)| release)
        .unwrap_or(on_x86_64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arm64_has_some_things_later_and_nothing_earlier() {
        let first = |arch, name, minor| {
            let on_x86_64 = (KernelVersion::new(6, minor, 0), "x86");
            first_release(arch, name, on_x86_64)
        };
        let late = (KernelVersion::new(6, 14, 0), "4346ba160409");
        assert_eq!(first(Arch::Arm64, "kprobe.session", 10), late);
        for (arch, name, minor) in [
            (Arch::Arm64, "kprobe.session", 20),
            (Arch::Arm64, "xdp", 10),
            (Arch::X86_64, "kprobe.session", 10),
        ] {
            let same = (KernelVersion::new(6, minor, 0), "x86");
            assert_eq!(first(arch, name, minor), same);
        }
    }
}
