//! The minimums of features on other architectures than x86-64.

use super::Feature;
use crate::arch::Arch;
use crate::kernel_version::KernelVersion;

impl Feature {
    /// The first upstream release that has it on this architecture; `None` if no release is known to have it.
    pub const fn minimum_on(self, arch: Arch) -> Option<KernelVersion> {
        let minimum = self.minimum();
        if matches!(arch, Arch::X86_64) {
            return Some(minimum);
        }
        let minimum = match (self.on_other(arch), self.base(arch)) {
            (Some(None), _) => return None,
            (Some(Some(own)), _) => own,
            (None, Some(base)) if is_before(minimum, base) => base,
            (None, _) => minimum,
        };
        Some(minimum)
    }

    /// The first release in which the architecture has what this is built on; `None` if it needs nothing of it.
    pub(super) const fn base(self, arch: Arch) -> Option<KernelVersion> {
        match self {
            Self::BtfTracePoint
            | Self::BtfTracePointCookie
            | Self::Link
            | Self::LinkInfo
            | Self::LinkTarget
            | Self::ProgramInfoTarget
            | Self::RingBuf
            | Self::Capabilities
            | Self::Arena
            | Self::Exceptions => None,
            Self::ProgramTarget
            | Self::TracingTarget
            | Self::RecursionMisses
            | Self::FuncIp
            | Self::FuncArgs
            | Self::Cookie
            | Self::StructArguments
            | Self::ManyArguments
            | Self::Session => Some(arch.trampolines()),
            Self::Fexit
            | Self::FEntry
            | Self::FModRet
            | Self::Lsm
            | Self::TestRun
            | Self::Sleepable
            | Self::ModuleTarget
            | Self::Multi => Some(arch.kernel_functions()),
        }
    }

    /// The first release that has it on another architecture than x86-64, where that is neither the release of x86-64 nor
    /// that of [`Feature::base`]. `Some(None)` if no release has it.
    pub(super) const fn on_other(self, arch: Arch) -> Option<Option<KernelVersion>> {
        match (self, arch) {
            // Source: kernel commit 9014cf56f13d ("bpf, arm64: Support up to 12 function arguments").
            (Self::ManyArguments, Arch::Arm64) => Some(Some(KernelVersion::new(6, 16, 0))),
            // Source: kernel commit 22fc0e80aeb5 ("bpf, arm64: support exceptions").
            (Self::Exceptions, Arch::Arm64) => Some(Some(KernelVersion::new(6, 9, 0))),
            // Source: `bpf_jit_supports_arena` in arch/arm64/net/bpf_jit_comp.c.
            (Self::Arena, Arch::Arm64) => Some(Some(KernelVersion::new(6, 10, 0))),
            // One link for many functions requires HAVE_SINGLE_FTRACE_DIRECT_OPS, which only x86 selects.
            (Self::Multi, _) => Some(None),
            _ => None,
        }
    }
}

const fn is_before(a: KernelVersion, b: KernelVersion) -> bool {
    a.major < b.major || a.major == b.major && a.minor < b.minor
}
