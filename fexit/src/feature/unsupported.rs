//! The error of a kernel that lacks a feature.

use super::Feature;
use crate::arch::Arch;
use crate::kernel_version::KernelVersion;

/// The running kernel lacks a feature. Decided by the kernel's answers and its BTF, never by its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
#[non_exhaustive]
pub struct Unsupported {
    /// The missing feature.
    pub feature: Feature,
    /// The first upstream release that has it on this architecture; `None` if no release is known to have it.
    pub minimum: Option<KernelVersion>,
    /// The running kernel.
    pub running: KernelVersion,
}

impl Unsupported {
    fn text(&self) -> String {
        let Self {
            feature,
            minimum,
            running,
        } = self;
        let on_arch = match Arch::current() {
            Some(Arch::X86_64) | None => String::new(),
            Some(arch) => format!(" on {arch}"),
        };
        match (feature, minimum) {
            // The call was refused for a lack of rights: before 5.8 it requires CAP_SYS_ADMIN.
            (Feature::Capabilities, Some(minimum)) => format!(
                "not permitted: before Linux {minimum} (this is {running}) BPF takes CAP_SYS_ADMIN, and CAP_BPF and \
                 CAP_PERFMON do not exist; run as root"
            ),
            (_, Some(minimum)) => {
                // A vendor's, or the configuration leaves it out.
                let although = match running.major > 0 && running >= minimum {
                    true => "; its configuration may leave it out",
                    false => "",
                };
                format!(
                    "this kernel ({running}) lacks the feature `{feature}`, which exists{on_arch} from Linux {minimum} \
                     on{although}"
                )
            }
            (_, None) => format!(
                "this kernel ({running}) lacks the feature `{feature}`, which no release is known to have{on_arch}"
            ),
        }
    }
}
