//! How a kernel boots fastest without any change to what is tested: data, in `kernels/boot-profiles.toml`.

use anyhow::{Context as _, Result};
use fexit::KernelVersion;
use serde::Deserialize;

use crate::vm::Accelerator;

const BUILT_IN: &str = include_str!("../../../kernels/boot-profiles.toml");

/// What to do differently from a plain boot. The default is to do nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootProfile {
    /// Boot the kernel that is packed inside the image, rather than have the guest unpack it.
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
    from: Option<String>,
    before: Option<String>,
    #[expect(
        dead_code,
        reason = "for whoever reads the file: a step without a reason is refused"
    )]
    why: String,
}

impl BootProfile {
    /// The fastest that is known for a kernel of that version; of an unknown version nothing is known.
    pub fn fastest(version: Option<KernelVersion>, accelerator: Accelerator) -> Result<Self> {
        let steps: Steps = toml::from_str(BUILT_IN).context("kernels/boot-profiles.toml")?;
        let mut profile = Self::default();
        let Some(version) = version else {
            return Ok(profile);
        };
        for step in steps.step {
            if step.applies(version, accelerator)? {
                profile.uncompressed |= step.uncompressed;
                profile.arguments.extend(step.argument);
            }
        }
        Ok(profile)
    }
}

impl Step {
    fn applies(&self, version: KernelVersion, accelerator: Accelerator) -> Result<bool> {
        let bound = |bound: &Option<String>| -> Result<Option<KernelVersion>> {
            let parse = |text: &String| {
                text.parse::<KernelVersion>().with_context(|| {
                    format!("kernels/boot-profiles.toml: `{text}` is not a version")
                })
            };
            bound.as_ref().map(parse).transpose()
        };
        Ok(self
            .accelerator
            .as_deref()
            .is_none_or(|name| name == accelerator.name())
            && bound(&self.from)?.is_none_or(|from| version >= from)
            && bound(&self.before)?.is_none_or(|before| version < before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(from: &str, before: &str) -> Step {
        let text = format!(
            "argument = 'x'\naccelerator = 'tcg'\nfrom = '{from}'\nbefore = '{before}'\nwhy = ''"
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_step_is_for_its_range_and_accelerator_only() {
        let step = step("5.10", "6.1");
        let applies = |major, minor, accelerator| {
            step.applies(KernelVersion::new(major, minor, 3), accelerator)
                .unwrap()
        };
        assert!(applies(5, 10, Accelerator::Tcg) && applies(6, 0, Accelerator::Tcg));
        assert!(!applies(5, 9, Accelerator::Tcg) && !applies(6, 1, Accelerator::Tcg));
        assert!(!applies(5, 10, Accelerator::Kvm));
    }

    #[test]
    fn built_in_profiles_are_valid_and_unknown_versions_get_none() {
        let newest = Some(KernelVersion::new(99, 0, 0));
        assert!(
            BootProfile::fastest(newest, Accelerator::Tcg)
                .unwrap()
                .uncompressed
        );
        assert_eq!(
            BootProfile::fastest(None, Accelerator::Tcg).unwrap(),
            BootProfile::default()
        );
        // All of it was measured under TCG.
        assert_eq!(
            BootProfile::fastest(newest, Accelerator::Kvm).unwrap(),
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
