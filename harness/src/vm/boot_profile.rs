//! The fastest boot of a kernel that does not change what is tested. The data is in `kernels/boot-profiles.toml`.

use anyhow::{Context as _, Result};
use fexit::KernelVersion;
use serde::Deserialize;

use super::accel::Accelerator;
use crate::kernels::{Arch, range::Range};

const BUILT_IN: &str = include_str!("../../../kernels/boot-profiles.toml");

/// The differences from a plain boot. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootProfile {
    /// Boot the uncompressed kernel, so that the guest does not uncompress it.
    pub uncompressed: bool,
    /// More arguments for the kernel.
    pub arguments: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    step: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[serde(default)]
    uncompressed: bool,
    argument: Option<String>,
    accelerator: Option<String>,
    /// All architectures if absent.
    arch: Option<Arch>,
    #[serde(default)]
    kernels: Range,
    #[expect(
        dead_code,
        reason = "documents the file: a step without a reason is refused"
    )]
    why: String,
}

impl BootProfile {
    /// The fastest profile for this kernel version; the default for an unknown version.
    pub fn fastest(
        version: Option<KernelVersion>,
        arch: Arch,
        accelerator: Accelerator,
    ) -> Result<Self> {
        let steps: Steps = toml::from_str(BUILT_IN).context("kernels/boot-profiles.toml")?;
        let mut profile = Self::default();
        let Some(version) = version else {
            return Ok(profile);
        };
        for step in steps.step {
            if step.applies(version, arch, accelerator) {
                profile.uncompressed |= step.uncompressed;
                profile.arguments.extend(step.argument);
            }
        }
        Ok(profile)
    }
}

impl Step {
    fn applies(&self, version: KernelVersion, arch: Arch, accelerator: Accelerator) -> bool {
        if self.arch.is_some_and(|own| own != arch) {
            return false;
        }
        let mut names = self.accelerator.iter();
        names.all(|name| name == accelerator.name()) && self.kernels.contains(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_applies_only_to_its_range_and_accelerator() {
        let text = "argument = 'x'\naccelerator = 'tcg'\narch = 'x86_64'\nwhy = ''\n\
                    kernels = { from = '5.10', until = '6.1' }";
        let step: Step = toml::from_str(text).unwrap();
        let applies = |major, minor, accelerator| {
            step.applies(
                KernelVersion::new(major, minor, 3),
                Arch::X86_64,
                accelerator,
            )
        };
        assert!(applies(5, 10, Accelerator::Tcg) && applies(6, 0, Accelerator::Tcg));
        assert!(!applies(5, 9, Accelerator::Tcg) && !applies(6, 1, Accelerator::Tcg));
        assert!(!applies(5, 10, Accelerator::Kvm));
        assert!(!step.applies(KernelVersion::new(5, 10, 0), Arch::Arm64, Accelerator::Tcg));
    }

    #[test]
    fn built_in_profiles_are_valid_and_unknown_versions_get_none() {
        let newest = Some(KernelVersion::new(99, 0, 0));
        assert!(
            BootProfile::fastest(newest, Arch::X86_64, Accelerator::Tcg)
                .unwrap()
                .uncompressed
        );
        assert_eq!(
            BootProfile::fastest(None, Arch::X86_64, Accelerator::Tcg).unwrap(),
            BootProfile::default()
        );
        // All of it was measured under TCG.
        assert_eq!(
            BootProfile::fastest(newest, Arch::X86_64, Accelerator::Kvm).unwrap(),
            BootProfile::default()
        );
    }

    #[test]
    fn no_step_disables_what_is_tested() {
        for forbidden in [
            "mitigations",
            "lsm=",
            "nokaslr",
            "init_on_",
            "pti=",
            "spectre",
        ] {
            let steps: Steps = toml::from_str(BUILT_IN).unwrap();
            let arguments = steps
                .step
                .iter()
                .filter_map(|step| step.argument.as_deref());
            assert_eq!(
                arguments
                    .filter(|argument| argument.contains(forbidden))
                    .count(),
                0
            );
        }
    }
}
