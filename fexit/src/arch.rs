//! Processor architectures, and the kernels from which each has BPF trampolines.

use std::fmt;

use crate::kernel_version::KernelVersion;

/// A processor architecture on which Linux has BPF trampolines.
///
/// fexit was run on x86-64 and arm64, the latter emulated. The data of the others come from the kernel's sources, and were never run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 64-bit Arm.
    Arm64,
    /// 64-bit RISC-V. Never run.
    Riscv64,
    /// IBM Z. Never run.
    S390x,
    /// 64-bit Power. Never run.
    Ppc64,
    /// LoongArch. Never run.
    LoongArch64,
}

impl Arch {
    /// All of them, in the order in which they got trampolines.
    pub const ALL: [Self; 6] = [
        Self::X86_64,
        Self::Arm64,
        Self::Riscv64,
        Self::S390x,
        Self::Ppc64,
        Self::LoongArch64,
    ];

    /// The architecture that this library is built for; `None` if it is none of these.
    pub const fn current() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Arm64)
        } else if cfg!(target_arch = "riscv64") {
            Some(Self::Riscv64)
        } else if cfg!(target_arch = "s390x") {
            Some(Self::S390x)
        } else if cfg!(target_arch = "powerpc64") {
            Some(Self::Ppc64)
        } else if cfg!(target_arch = "loongarch64") {
            Some(Self::LoongArch64)
        } else {
            None
        }
    }

    /// Its name, stable for scripts: `x86_64`, `arm64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
            Self::Riscv64 => "riscv64",
            Self::S390x => "s390x",
            Self::Ppc64 => "ppc64",
            Self::LoongArch64 => "loongarch64",
        }
    }

    /// The prefix of the functions of system calls, which take a `struct pt_regs`: `__x64_sys_bpf`. Empty if the kernel has
    /// no such wrappers on this architecture.
    pub const fn syscall_prefix(self) -> &'static str {
        match self {
            Self::X86_64 => "__x64_",
            Self::Arm64 => "__arm64_",
            Self::Riscv64 => "__riscv_",
            Self::S390x => "__s390x_",
            Self::Ppc64 | Self::LoongArch64 => "",
        }
    }

    /// The first release with trampolines for BPF programs as targets.
    ///
    /// Source: kernel commits fec56f5890d9 (x86), efc9909fdce0 (arm64), 49b5e77ae3e2 (riscv64), 528eb2cb87bc (s390x); for
    /// ppc64 and loongarch64 `arch_prepare_bpf_trampoline` in arch/powerpc and arch/loongarch.
    pub const fn trampolines(self) -> KernelVersion {
        let (major, minor) = match self {
            Self::X86_64 => (5, 5),
            Self::Arm64 => (6, 0),
            Self::Riscv64 | Self::S390x => (6, 3),
            Self::Ppc64 => (6, 13),
            Self::LoongArch64 => (6, 17),
        };
        KernelVersion::new(major, minor, 0)
    }

    /// The first release in which a trampoline can be attached to a function of the kernel.
    ///
    /// On arm64 that requires direct calls of ftrace, which came later (kernel commit 2aa6ac03516d, "arm64: ftrace: Add
    /// direct call support"): 6.0 to 6.3 answer such an attach with errno 524.
    pub const fn kernel_functions(self) -> KernelVersion {
        match self {
            Self::Arm64 => KernelVersion::new(6, 4, 0),
            _ => self.trampolines(),
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_functions_need_trampolines() {
        for arch in Arch::ALL {
            assert!(arch.kernel_functions() >= arch.trampolines(), "{arch}");
        }
        assert!(Arch::ALL.is_sorted_by_key(|arch| arch.trampolines()));
        assert!(Arch::ALL.contains(&Arch::current().unwrap()));
    }
}
